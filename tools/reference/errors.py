"""The catalogue of problems: every one that the services' own code can answer with, and the facts that it names."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

from reference.markdown import code, table
from vinculum_shared.problems import URN, Problem

PACKAGES: Final = {
    "vinculum_shared": "all",
    "vinculum_command": "command",
    "vinculum_projection": "projection",
    "vinculum_notifier": "notifier",
}
INTRODUCTION: Final = f"""\
# Errors

Every refusal is a problem (RFC 9457, `application/problem+json`): `type`, `title`, `status`, `detail`, `code`, and its
facts beside them. The type is `{URN}<code>`. `errors` is a list of `{{"source", "pointer", "code", "detail"}}`.
The `source` is `body`, `query` or `header`, and the pointer a JSON pointer into the body, `?name` of a query parameter,
or the name of a header. An unknown id in a body is such an error, with the code of what
was not found. Answers to what may be tried again carry `Retry-After`.
"""


@dataclass
class Answered:
    """A problem as it is met in the sources."""

    problem: type[Problem]
    services: set[str] = field(default_factory=set)
    facts: set[str] = field(default_factory=set)


def document() -> str:
    rows = [
        (
            code(each.problem.code),
            str(each.problem.status),
            f"{each.problem.title} {each.problem.advice}",
            ", ".join(code(fact) for fact in sorted(each.facts)),
            "all" if "all" in each.services else ", ".join(sorted(each.services)),
        )
        for each in answered()
    ]
    return f"{INTRODUCTION}\n{table(('code', 'status', 'meaning', 'facts', 'service'), rows)}"


def answered() -> list[Answered]:
    """Find the problems that are raised or made anywhere; those of one code are one."""
    found: dict[str, Answered] = {}
    for package, service in PACKAGES.items():
        for module in modules(package):
            for problem, facts in mentioned(module):
                each = found.setdefault(problem.code, Answered(problem))
                each.services.add(service)
                each.facts |= facts | own_facts(problem)
    return sorted(found.values(), key=lambda each: (each.problem.status, each.problem.code))


def modules(package: str) -> Iterator[ModuleType]:
    root = importlib.import_module(package)
    yield root
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def mentioned(module: ModuleType) -> Iterator[tuple[type[Problem], set[str]]]:
    assert module.__file__
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    for node in values(tree):
        problem = meant(node.func if isinstance(node, ast.Call) else node, module)
        if isinstance(problem, type) and issubclass(problem, Problem) and problem is not Problem:
            yield problem, facts(node, tree) if isinstance(node, ast.Call) else set()


def facts(call: ast.Call, tree: ast.Module) -> set[str]:
    """Find the names of a call's keyword arguments, and those of `**name` where a dict is written down for the name."""
    given = {keyword.arg for keyword in call.keywords if keyword.arg}
    spread = {each.value.id for each in call.keywords if each.arg is None and isinstance(each.value, ast.Name)}
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name in spread:
                given |= keys(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in spread:
                given |= keys(value)
    return given


def keys(value: ast.expr) -> set[str]:
    dicts = [node for node in ast.walk(value) if isinstance(node, ast.Dict)]
    return {str(key.value) for each in dicts for key in each.keys if isinstance(key, ast.Constant)}


def meant(node: ast.AST, module: ModuleType) -> object:
    """Look up a name, or a name of a module: `rejections.AccountArchived`."""
    match node:
        case ast.Name(id=name):
            return getattr(module, name, None)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return getattr(getattr(module, name, None), attribute, None)
        case _:
            return None


def values(node: ast.AST) -> Iterator[ast.AST]:
    """Find the calls and names that a piece of source uses as values: not to tell, catch, derive from or declare."""
    match node:
        case ast.ClassDef(body=body) | ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            children: list[ast.AST] = [*body]
        case ast.ExceptHandler(body=body):
            children = [*body]
        case ast.MatchClass():
            children = []
        case ast.AnnAssign(value=value):
            children = [value] if value else []
        case ast.Call(func=ast.Name(id="isinstance"), args=[told, *_]):
            children = [told]
        case ast.Call(args=args, keywords=keywords):
            yield node
            children = [node.func, *args, *keywords]
        case ast.Name() | ast.Attribute(value=ast.Name()):
            yield node
            children = []
        case _:
            children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from values(child)


def own_facts(problem: type[Problem]) -> set[str]:
    parameters = inspect.signature(problem.__init__).parameters.values()
    return {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
