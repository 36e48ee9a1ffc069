"""What happens in Vinculum, as types: the events, the values they are made of, and their one JSON form.

Pure: no driver, no broker, no web framework. A module for each noun; `envelope` reads and writes the JSON form,
`catalogue` lists every event type.
"""
