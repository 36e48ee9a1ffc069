"""Links that can't be forged."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vinculum_shared.signed import Invitation, sign, verify

pytestmark = pytest.mark.unit

KEY = SecretStr("a key of the tests")


def test_a_link_token_is_good_for_one_key_and_one_purpose() -> None:
    token = sign(KEY, "cursor", {"after": "Zürich"})
    assert verify(KEY, "cursor", token) == {"after": "Zürich"}
    assert verify(KEY, "unsubscribe", token) is None
    assert verify(SecretStr("another"), "cursor", token) is None


@given(st.text())
def test_what_was_not_signed_is_not_read(token: str) -> None:
    assert verify(KEY, "cursor", token) is None


@given(data=st.data())
def test_a_link_token_that_was_changed_anywhere_is_not_read(data: st.DataObject) -> None:
    token = sign(KEY, "cursor", {"after": 17})
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.characters(codec="utf-8").filter(lambda c: c != token[at])) + token[at + 1 :]
    assert verify(KEY, "cursor", changed) is None


def test_an_invitation_is_good_until_it_expires() -> None:
    now = datetime.now(UTC)
    invitation = Invitation(
        tenant="acme",
        account_id=uuid4(),
        contact_id=uuid4(),
        email_id=uuid4(),
        address_hash="5f1d",
        invitation_id=uuid4(),
        expires_at=now + timedelta(hours=48),
    )
    token = invitation.token(KEY)
    assert Invitation.read(KEY, token, now) == invitation
    assert Invitation.read(KEY, token, now + timedelta(hours=48)) is None
    assert Invitation.read(KEY, sign(KEY, "unsubscribe", invitation.model_dump()), now) is None
    assert Invitation.read(KEY, sign(KEY, "invitation", invitation.model_dump(exclude={"address_hash"})), now) is None
