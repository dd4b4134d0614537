"""SimulatePrincipalPolicy, which moto lacks: what would a role, user or group be allowed to do?

The evaluation is the one that the IAM user guide describes ("Policy evaluation logic"), as far as identities go: an
explicit `Deny` wins, then an `Allow` of the identity's policies counts if the permissions boundary (when there is
one) allows it too, everything else is an implicit denial. Conditions see the `ContextEntries` of the request only.
Nothing here is enforced: the endpoint itself lets every signed request through.
"""

from __future__ import annotations

import fnmatch
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from localaws.coverage import Behaviour

ACTION = "SimulatePrincipalPolicy"
BEHAVIOURS = (
    Behaviour(
        "SimulatePrincipalPolicy: explicit denials, permissions boundary, implicit denial",
        "documented",
        "IAM user guide, Policy evaluation logic",
    ),
    Behaviour("SimulatePrincipalPolicy knows no organization policies and no resource policies", "assumed"),
    Behaviour("IAM allows everything: policies are simulated, never enforced", "assumed"),
)
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
PAGE = 100  # evaluations; MaxItems' default
REFUSED = ("ResourcePolicy", "ResourceOwner", "CallerArn", "ResourceHandlingOption", "PolicyExclusionList")
PRINCIPALS = ("role", "user", "group")


class SimulationError(Exception):
    """A request that cannot be answered: the wire code and one sentence."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True)
class Policy:
    """One policy document with the name under which the answer speaks of it."""

    name: str
    kind: str  # a PolicySourceType of the API
    statements: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, name: str, kind: str, document: str) -> Policy:
        """Read a document; SimulationError when it is no policy."""
        try:
            text = document if document.lstrip().startswith("{") else unquote(document)
            statements = _listed(json.loads(text)["Statement"])
        except (ValueError, KeyError, TypeError):
            raise SimulationError("InvalidInput", f"Policy {name} is no policy document: it has no Statement") from None
        return cls(name, kind, tuple(statements))


@dataclass(frozen=True)
class Verdict:
    """What was decided for one action on one resource, by which policies, and which context keys were missing."""

    decision: str
    matched: tuple[Policy, ...] = ()
    missing: tuple[str, ...] = ()
    boundary: bool | None = None


@dataclass
class _Tally:
    allowed: list[Policy] = field(default_factory=list)
    denied: list[Policy] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _like(patterns: Any, value: str, *, fold: bool = False) -> bool:
    """IAM's wildcards: `*` and `?`; brackets mean themselves."""
    text = value.lower() if fold else value
    for pattern in _listed(patterns):
        glob = str(pattern).replace("[", "[[]")
        if fnmatch.fnmatchcase(text, glob.lower() if fold else glob):
            return True
    return False


def _concerns(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    acts = (
        _like(statement["Action"], action, fold=True)
        if "Action" in statement
        else not _like(statement.get("NotAction", "*"), action, fold=True)
    )
    if not acts:
        return False
    if "NotResource" in statement:
        return not _like(statement["NotResource"], resource)
    return _like(statement.get("Resource", "*"), resource)


def _equal(wanted: Any, value: str) -> bool:
    return value in [str(w) for w in _listed(wanted)]


TESTS: dict[str, Callable[[Any, str], bool]] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": lambda wanted, value: value.lower() in [str(w).lower() for w in _listed(wanted)],
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda wanted, value: value.lower() in [str(w).lower() for w in _listed(wanted)],
}
NEGATED = {"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
           "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike"}  # fmt: skip


def _condition_holds(operator: str, key: str, wanted: Any, context: Mapping[str, Sequence[str]]) -> bool:
    plain = operator.removesuffix("IfExists")
    values = context.get(key.lower())
    if plain == "Null":
        return _equal([str(w).lower() for w in _listed(wanted)], str(values is None).lower())
    negated = plain in NEGATED
    test = TESTS.get(NEGATED.get(plain, plain))
    if test is None:
        known = ", ".join([*TESTS, *NEGATED, "Null"])
        raise SimulationError("PolicyEvaluation", f"Condition operator {operator} is not evaluated here, only {known}")
    if values is None:
        return negated or plain != operator
    return any(test(wanted, value) for value in values) != negated


def _conditions_hold(statement: Mapping[str, Any], context: Mapping[str, Sequence[str]], missing: set[str]) -> bool:
    holds = True
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            if key.lower() not in context:
                missing.add(key)
            holds = _condition_holds(operator, key, wanted, context) and holds
    return holds


def _tally(policies: Iterable[Policy], action: str, resource: str, context: Mapping[str, Sequence[str]]) -> _Tally:
    tally = _Tally()
    for policy in policies:
        for statement in policy.statements:
            concerned = _concerns(statement, action, resource)
            if concerned and _conditions_hold(statement, context, tally.missing):
                side = tally.allowed if statement.get("Effect") == "Allow" else tally.denied
                if policy not in side:
                    side.append(policy)
    return tally


def evaluate(
    policies: Iterable[Policy],
    boundary: Sequence[Policy] | None,
    action: str,
    resource: str,
    context: Mapping[str, Sequence[str]],
) -> Verdict:
    """Decide one action on one resource; `boundary` None means that there is no permissions boundary."""
    own = _tally(policies, action, resource, context)
    limit = None if boundary is None else _tally(boundary, action, resource, context)
    within = None if limit is None else bool(limit.allowed) and not limit.denied
    missing = tuple(sorted(own.missing | (limit.missing if limit else set())))
    denied = [*own.denied, *(limit.denied if limit else ())]
    if denied:
        return Verdict("explicitDeny", tuple(denied), missing, within)
    if own.allowed and within is not False:
        return Verdict("allowed", tuple(own.allowed), missing, within)
    return Verdict("implicitDeny", (), missing, within)


# ---- the identities, as moto keeps them ----


def _identity(backend: Any, arn: str) -> tuple[str, Any]:
    match = re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:(role|user|group)/(?:.*/)?([^/]+)", arn)
    if match is None:
        raise SimulationError(
            "InvalidInput",
            f"PolicySourceArn {arn!r} is not the ARN of a {', '.join(PRINCIPALS[:-1])} or {PRINCIPALS[-1]}",
        )
    kind, name = match.groups()
    known = {"role": backend.roles.values(), "user": backend.users.values(), "group": backend.groups.values()}[kind]
    found = next((entity for entity in known if entity.arn == arn), None)
    if found is None:
        raise SimulationError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
    return kind, found


def _managed(policy: Any) -> Policy:
    document = next(version.document for version in policy.versions if version.is_default)
    kind = "aws-managed" if ":iam::aws:" in policy.arn else "user-managed"
    return Policy.of(policy.name, kind, document)


def _policies(kind: str, entity: Any) -> list[Policy]:
    own = [Policy.of(name, kind, document) for name, document in entity.policies.items()]
    return own + [_managed(policy) for policy in entity.managed_policies.values()]


def policies_of(backend: Any, arn: str) -> tuple[list[Policy], list[Policy] | None]:
    """The policies of an identity (a user's groups included) and its permissions boundary, from moto's records."""
    kind, entity = _identity(backend, arn)
    found = _policies(kind, entity)
    if kind == "user":
        for group in backend.get_groups_for_user(entity.name):
            found += _policies("group", group)
    arn_of_boundary = getattr(entity, "permissions_boundary_arn", None)
    if not arn_of_boundary:
        return found, None
    if arn_of_boundary not in backend.managed_policies:
        raise SimulationError("NoSuchEntity", f"Policy {arn_of_boundary} does not exist or is not attachable.", 404)
    return found, [_managed(backend.managed_policies[arn_of_boundary])]


# ---- the wire ----


def _values(fields: Mapping[str, str], name: str) -> list[str]:
    numbered = re.compile(rf"{re.escape(name)}\.member\.(\d+)")
    found = [(int(m[1]), value) for key, value in fields.items() if (m := numbered.fullmatch(key))]
    return [value for _, value in sorted(found)]


def _context(fields: Mapping[str, str]) -> dict[str, list[str]]:
    context: dict[str, list[str]] = {}
    for key, value in fields.items():
        if (match := re.fullmatch(r"(ContextEntries\.member\.\d+)\.ContextKeyName", key)) is not None:
            context[value.lower()] = _values(fields, f"{match[1]}.ContextKeyValues")
    return context


def _page(fields: Mapping[str, str], total: int) -> tuple[int, int]:
    """First and end of the asked page; the marker is the number of evaluations that were given before."""
    marker, most = fields.get("Marker", "0"), fields.get("MaxItems", str(PAGE))
    if not (marker.isdigit() and most.isdigit() and 1 <= int(most) <= 1000 and int(marker) <= total):
        raise SimulationError("ValidationError", f"Marker {marker!r} or MaxItems {most!r} is not valid")
    return int(marker), int(marker) + int(most)


def _result(action: str, resource: str, verdict: Verdict) -> dict[str, Any]:
    matched = [{"SourcePolicyId": p.name, "SourcePolicyType": p.kind} for p in verdict.matched]
    result: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": verdict.decision,
        "MatchedStatements": matched,
        "MissingContextValues": list(verdict.missing),
    }
    if verdict.boundary is not None:
        result["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": verdict.boundary}
    return result


def simulate(backend: Any, fields: Mapping[str, str]) -> dict[str, Any]:
    """The members of the answer; `fields` are the request's query parameters, `backend` is moto's IAM.

    One result per action and resource, the resource being `*` when none is named. Raises SimulationError.
    """
    for name in REFUSED:
        if any(key == name or key.startswith(f"{name}.") for key in fields):
            raise SimulationError("InvalidInput", f"{name} is not supported by the local AWS endpoint: leave it out")
    actions = _values(fields, "ActionNames")
    if "PolicySourceArn" not in fields or not actions:
        raise SimulationError("ValidationError", "PolicySourceArn and at least one of ActionNames are required")
    policies, boundary = policies_of(backend, fields["PolicySourceArn"])
    extra = _values(fields, "PolicyInputList")
    policies += [Policy.of(f"PolicyInputList.{i}", "none", text) for i, text in enumerate(extra, 1)]
    if given := _values(fields, "PermissionsBoundaryPolicyInputList"):
        boundary = [Policy.of(f"PermissionsBoundaryPolicyInputList.{i}", "none", t) for i, t in enumerate(given, 1)]
    asked = [(action, resource) for action in actions for resource in _values(fields, "ResourceArns") or ["*"]]
    first, end = _page(fields, len(asked))
    context = _context(fields)
    answer: dict[str, Any] = {
        "EvaluationResults": [_result(a, r, evaluate(policies, boundary, a, r, context)) for a, r in asked[first:end]],
        "IsTruncated": end < len(asked),
    }
    return answer | ({"Marker": str(end)} if end < len(asked) else {})


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(member)}</{name}>" for name, member in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(member)}</member>" for member in value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


_policies_lock = threading.Lock()


def load_aws_policies(backend: Any, body: bytes) -> None:
    """Put AWS's own policies into moto's records when a request first names one; that takes a second and 50 MiB."""
    text = unquote(body.decode("utf-8", "replace"))
    if ":iam::aws:policy/" not in text and "Action=ListPolicies" not in text:
        return
    from moto.iam.aws_managed_policies import aws_managed_policies_data
    from moto.iam.models import AWSManagedPolicy

    with _policies_lock:
        if backend.aws_managed_policies:
            return
        found = [
            AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
            for name, data in json.loads(aws_managed_policies_data).items()
        ]
        backend.managed_policies.update({policy.arn: policy for policy in found})
        backend.aws_managed_policies = found


def is_simulation(body: bytes) -> bool:
    """Whether a request to IAM is one that is answered here rather than by moto."""
    return f"Action={ACTION}".encode() in body.split(b"&")


def answer(backend: Any, body: bytes) -> tuple[int, bytes]:
    """HTTP status and XML body for a query-protocol request."""
    request = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    try:
        result = simulate(backend, dict(parse_qsl(body.decode(), keep_blank_values=True)))
    except SimulationError as error:
        said = {"Type": "Sender", "Code": error.code, "Message": error.message}
        text = f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{_xml(said)}</Error></ErrorResponse>'
        return error.status, text.encode()
    inner = f"<{ACTION}Result>{_xml(result)}</{ACTION}Result>"
    return 200, f'<{ACTION}Response xmlns="{NAMESPACE}">{inner}{request}</{ACTION}Response>'.encode()
