"""SimulatePrincipalPolicy, through boto3; expectations from the IAM user guide's evaluation logic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.iam.access_control import IAMPolicy, PermissionResult

from localaws.iam import Policy, evaluate
from localaws_tests.conftest import client_of

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*") -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource}


@pytest.fixture(scope="module")
def iam(endpoint):
    return client_of(endpoint, "iam")


@pytest.fixture
def role(iam, name):
    """A new role, as (name, ARN)."""
    made = iam.create_role(RoleName=name[:60], AssumeRolePolicyDocument=TRUST)["Role"]
    return made["RoleName"], made["Arn"]


def decisions(iam, arn, actions, resources=None, **more):
    given_resources = {"ResourceArns": resources} if resources else {}
    answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, **given_resources, **more)
    return {(r["EvalActionName"], r["EvalResourceName"]): r["EvalDecision"] for r in answer["EvaluationResults"]}


def test_a_role_without_policies_is_denied_implicitly(iam, role):
    assert decisions(iam, role[1], ["s3:GetObject"]) == {("s3:GetObject", "*"): "implicitDeny"}


def test_an_allow_counts_for_its_resources_and_a_deny_wins(iam, role):
    bucket, other = "arn:aws:s3:::data/*", "arn:aws:s3:::else/*"
    document = policy(allow(["s3:Get*", "S3:PUTOBJECT"], "arn:aws:s3:::data/*"), deny("s3:PutObject", other))
    iam.put_role_policy(RoleName=role[0], PolicyName="inline", PolicyDocument=document)
    assert decisions(iam, role[1], ["s3:GetObject", "s3:PutObject"], [bucket, other]) == {
        ("s3:GetObject", bucket): "allowed",
        ("s3:GetObject", other): "implicitDeny",
        ("s3:PutObject", bucket): "allowed",
        ("s3:PutObject", other): "explicitDeny",
    }
    found = iam.simulate_principal_policy(PolicySourceArn=role[1], ActionNames=["s3:GetObject"], ResourceArns=[bucket])[
        "EvaluationResults"
    ]
    assert [(s["SourcePolicyId"], s["SourcePolicyType"]) for s in found[0]["MatchedStatements"]] == [("inline", "role")]


def test_managed_policies_users_groups_and_boundaries(iam, name):
    managed = iam.create_policy(PolicyName=f"{name}-m"[:60], PolicyDocument=policy(allow("sagemaker:*")))["Policy"][
        "Arn"
    ]
    narrow = policy(allow("sagemaker:List*"))
    boundary = iam.create_policy(PolicyName=f"{name}-b"[:60], PolicyDocument=narrow)["Policy"]["Arn"]
    role = iam.create_role(RoleName=name[:60], AssumeRolePolicyDocument=TRUST, PermissionsBoundary=boundary)["Role"]
    iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn=managed)
    answer = iam.simulate_principal_policy(
        PolicySourceArn=role["Arn"], ActionNames=["sagemaker:ListModels", "sagemaker:CreateModel"]
    )
    assert [
        (r["EvalDecision"], r["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"])
        for r in answer["EvaluationResults"]
    ] == [("allowed", True), ("implicitDeny", False)]
    user = iam.create_user(UserName=name[:60])["User"]["Arn"]
    iam.create_group(GroupName=name[:60])
    iam.add_user_to_group(UserName=name[:60], GroupName=name[:60])
    assert set(decisions(iam, user, ["sagemaker:ListModels"]).values()) == {"implicitDeny"}
    iam.attach_group_policy(GroupName=name[:60], PolicyArn=managed)
    assert set(decisions(iam, user, ["sagemaker:ListModels"]).values()) == {"allowed"}


def test_policies_of_aws_are_there_when_they_are_named(iam, role):
    iam.attach_role_policy(RoleName=role[0], PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    bucket = "arn:aws:s3:::sagemaker-us-east-1-123456789012/*"
    actions = ["sagemaker:CreateTrainingJob", "s3:PutObject", "ec2:TerminateInstances"]
    assert list(decisions(iam, role[1], actions, [bucket]).values()) == ["allowed", "allowed", "implicitDeny"]
    attached = iam.list_attached_role_policies(RoleName=role[0])["AttachedPolicies"]
    assert [policy["PolicyName"] for policy in attached] == ["AmazonSageMakerFullAccess"]


def test_conditions_see_the_context_of_the_request(iam, role):
    condition = {"StringEquals": {"iam:PassedToService": ["sagemaker.amazonaws.com"]}}
    document = policy(allow("iam:PassRole", Condition=condition))
    iam.put_role_policy(RoleName=role[0], PolicyName="pass", PolicyDocument=document)

    def simulate(**more):
        return iam.simulate_principal_policy(PolicySourceArn=role[1], ActionNames=["iam:PassRole"], **more)[
            "EvaluationResults"
        ][0]

    bare = simulate()
    assert (bare["EvalDecision"], bare["MissingContextValues"]) == ("implicitDeny", ["iam:PassedToService"])
    entry = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string"}
    for service, decision in (("sagemaker", "allowed"), ("glue", "implicitDeny")):
        entries = [{**entry, "ContextKeyValues": [f"{service}.amazonaws.com"]}]
        assert simulate(ContextEntries=entries)["EvalDecision"] == decision


def test_results_come_in_pages(iam, role):
    actions = [f"s3:Action{i}" for i in range(7)]
    paginator = iam.get_paginator("simulate_principal_policy")
    pages = list(paginator.paginate(PolicySourceArn=role[1], ActionNames=actions, PaginationConfig={"PageSize": 3}))
    assert [len(page["EvaluationResults"]) for page in pages] == [3, 3, 1]
    assert [r["EvalActionName"] for page in pages for r in page["EvaluationResults"]] == actions


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"PolicySourceArn": "arn:aws:iam::123456789012:role/nobody"}, "NoSuchEntity"),
        ({"PolicySourceArn": "arn:aws:s3:::a-bucket-here"}, "InvalidInput"),
        ({"ResourcePolicy": policy(allow("s3:*"))}, "InvalidInput"),
        ({"PolicyInputList": ["{}"]}, "InvalidInput"),
        (
            {"PolicyInputList": [policy(allow("s3:*", Condition={"DateGreaterThan": {"aws:CurrentTime": "x"}}))]},
            "PolicyEvaluation",
        ),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(iam, role, changes, code):
    with pytest.raises(ClientError) as caught:
        iam.simulate_principal_policy(**{"PolicySourceArn": role[1], "ActionNames": ["s3:GetObject"], **changes})
    assert caught.value.response["Error"]["Code"] == code


ACTIONS = ["s3:GetObject", "s3:PutObject", "sagemaker:CreateModel"]
RESOURCES = ["arn:aws:s3:::a/x", "arn:aws:s3:::b/y"]
STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": st.sampled_from([*ACTIONS, "s3:*", "*", ["s3:GetObject", "sagemaker:*"]]),
        "Resource": st.sampled_from([*RESOURCES, "*", "arn:aws:s3:::a/*"]),
    }
)
SAID = {
    PermissionResult.PERMITTED: "allowed",
    PermissionResult.DENIED: "explicitDeny",
    PermissionResult.NEUTRAL: "implicitDeny",
}


@settings(max_examples=150)
@given(
    statements=st.lists(STATEMENTS, min_size=1, max_size=4),
    action=st.sampled_from(ACTIONS),
    resource=st.sampled_from(RESOURCES),
)
def test_the_decision_is_that_of_motos_own_evaluator(statements, action, resource):
    document = policy(*statements)
    verdict = evaluate([Policy.of("p", "role", document)], None, action, resource, {})
    theirs = IAMPolicy(document).is_action_permitted(action, resource)
    assert verdict.decision == SAID[theirs]
