"""Change an account's name and find it, with clients that were generated from the OpenAPI documents.

python change_an_account.py COMMAND_URL PROJECTION_URL TOKEN ACCOUNT_ID NAME
"""

import json
import sys
from uuid import UUID

from command.api.commands import change_account
from command.models import ChangeAccount, CommandAnswer
from projection.api.accounts import get_account, list_accounts
from projection.models import Account, AccountPage

from command import AuthenticatedClient
from projection import AuthenticatedClient as QueryClient

_, command_url, projection_url, token, account_id, name = sys.argv
commands = AuthenticatedClient(base_url=command_url, token=token)
queries = QueryClient(base_url=projection_url, token=token)

answer = change_account.sync(UUID(account_id), client=commands, body=ChangeAccount(name=name))
assert isinstance(answer, CommandAnswer), answer
page = list_accounts.sync(client=queries, query=name, min_position=answer.position)
assert isinstance(page, AccountPage), page
assert [item.id for item in page.items] == [UUID(account_id)]
account = get_account.sync(UUID(account_id), client=queries)
assert isinstance(account, Account), account
missing = get_account.sync(UUID(int=0), client=queries)
print(json.dumps({"account": account.to_dict(), "missing": missing.code.value}))
