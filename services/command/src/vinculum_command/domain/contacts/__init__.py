"""Contacts, by subject: the profile, the addresses, being active."""
