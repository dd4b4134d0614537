"""Faults: the words of a tag, the faults of calls, and both through the port."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from localaws import faults, shapes
from localaws.errors import ApiError, ThrottlingException, ValidationException
from localaws.faults import CONTRADICTIONS, ERRORS, TAG, TAGGED, WORDS, Faults, JobFaults, parse
from localaws.s3 import names
from localaws.server import Endpoint
from localaws_tests.conftest import client_of, training_request, wait_for
from localaws_tests.signing import signed_request

SECONDS = st.floats(0, faults.MOST_SECONDS).map(lambda value: round(value, 3))


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, JobFaults]:
    """A value of the tag and what it means."""
    chosen = draw(st.permutations(list(WORDS)))[: draw(st.integers(0, len(WORDS)))]
    for first, second in CONTRADICTIONS:
        if first in chosen and second in chosen:
            chosen = [word for word in chosen if word != second]
    items, expected = [], {}
    for word in chosen:
        field = WORDS[word][0]
        value: Any = True
        if word == "exit-code":
            value = draw(st.integers(0, 255))
        elif WORDS[word][1] is not None:
            value = draw(SECONDS)
        items.append(word if value is True else f"{word}={value}")
        expected[field] = value
    return draw(st.sampled_from([" ", "  ", " \t"])).join(items), JobFaults(**expected)


@given(asked())
def test_what_is_written_is_read(case: tuple[str, JobFaults]) -> None:
    text, expected = case
    assert Faults().of({TAG: text, "other": "hang"}) == expected
    pattern = shapes.service().shape_for("TagValue").metadata["pattern"]
    if "\t" not in text:
        assert shapes.compile_pattern(pattern).fullmatch(text), "AWS would refuse this value of a tag"


@given(st.text(max_size=40) | st.lists(st.sampled_from([*WORDS, "=", "1", "=-1", "=nan", "x", " "])).map("".join))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        found = parse(text)
    except ValidationException as error:
        refusal = error.message
    else:
        refusal = TAG
        assert all(value is None or math.isfinite(value) for value in vars(found).values())
        assert len(faults.words(found)) <= len(text.split())
    assert TAG in refusal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("explode", "'explode', which is no fault; there are: slow-start, capacity"),
        ("hang=1", "write it as hang"),
        ("stop", "write it as stop=NUMBER"),
        ("stop=-1", "seconds from 0 to 86400"),
        ("stop=nan", "seconds from 0 to 86400"),
        ("stop=inf", "seconds from 0 to 86400"),
        ("exit-code=256", "from 0 to 255"),
        ("exit-code=\u00b2", "from 0 to 255"),
        ("exit-code=-1", "from 0 to 255"),
        ("hang hang", "'hang' twice"),
        ("exit-code=1 kill=2", "exclude each other"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ValidationException, match=said):
        parse(text)


def test_every_field_has_a_word() -> None:
    assert {field for field, _ in WORDS.values()} == {field.name for field in fields(JobFaults)}
    assert Faults().of({}) == JobFaults()
    assert set(ERRORS) == {kind.code for kind, _ in ERRORS.values()}
    for operation in TAGGED:
        model = shapes.operation_model(operation)
        assert model is not None
        assert "Tags" in model.input_shape.members


def _tagged(value: str) -> dict[str, Any]:
    return {"Tags": [{"Key": "a", "Value": "b"}, {"Key": TAG, "Value": value}]}


def test_a_tag_that_nothing_would_come_of_is_refused() -> None:
    faults.check_tags("CreateModel", {"Tags": [{"Key": "a", "Value": "b"}]})
    faults.check_tags("AddTags", _tagged("capacity"))
    faults.check_tags("CreateTrainingJob", {**_tagged("interrupt=1"), "EnableManagedSpotTraining": True})
    for operation, value, said in (
        ("CreateModel", "hang", "CreateModel takes no tag"),
        ("CreateEndpoint", "exit-code=1", "CreateEndpoint cannot have the fault 'exit-code'"),
        ("CreateProcessingJob", "corrupt-artifact", "it can have: slow-start, capacity, hang, kill, exit-code, stop"),
        ("CreateTrainingJob", "interrupt=1", "only with EnableManagedSpotTraining"),
        ("AddTags", "nonsense", "is no fault"),
    ):
        with pytest.raises(ValidationException, match=said):
            faults.check_tags(operation, _tagged(value))


def outcomes(asked: Faults, operation: str, times: int) -> list[str]:
    """The code that each of so many calls is refused with, "" where it is not."""
    found = []
    for _ in range(times):
        try:
            asked.for_call(operation)
            found.append("")
        except ApiError as error:
            found.append(error.code)
    return found


@pytest.mark.parametrize("error", ERRORS)
def test_the_next_calls_fail_and_then_no_more(error: str) -> None:
    asked = Faults()
    asked.add({"operation": "Describe*", "error": error, "calls": 2, "skip": 1})
    assert outcomes(asked, "CreateModel", 1) == [""]
    assert outcomes(asked, "DescribeModel", 4) == ["", error, error, ""]
    assert asked.pending() == []


def test_faults_are_tried_in_order_and_can_be_taken_back() -> None:
    asked = Faults()
    first = asked.add({"operation": "ListModels"})
    second = asked.add({"operation": "*", "error": "InternalFailure", "message": "on purpose"})
    assert [fault["id"] for fault in asked.pending()] == [first.id, second.id]
    assert asked.clear([first.id, "f99"]) == 1
    with pytest.raises(ApiError, match="on purpose"):
        asked.for_call("ListModels")
    asked.add({"operation": "ListModels"})
    assert (asked.clear(), asked.clear()) == (1, 0)


def test_a_late_call_waits_and_a_lost_answer_comes_after_the_work() -> None:
    waited: list[float] = []
    asked = Faults(waited.append)
    asked.add({"operation": "CreateModel", "error": "", "delay": 1.5})
    assert asked.begin("CreateModel") is None
    assert waited == [1.5]
    asked.add({"operation": "CreateModel", "lost": True})
    fault = asked.begin("CreateModel")
    assert fault is not None
    with pytest.raises(ThrottlingException, match="Rate exceeded"):
        fault.raise_error()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({}, "needs 'operation'"),
        (
            {"operation": "CreateTrainingjob"},
            "SageMaker has no operation 'CreateTrainingjob', did you mean CreateTrainingJob; one of another service",
        ),
        ({"operation": "ListModels", "error": "Nonsense"}, "'error' cannot be 'Nonsense'"),
        ({"operation": "ListModels", "calls": 0}, "from 1 to"),
        ({"operation": "ListModels", "calls": True}, "cannot be True"),
        ({"operation": "ListModels", "calls": "2"}, "cannot be '2'"),
        ({"operation": "ListModels", "delay": -1}, "'delay' is a number of seconds"),
        ({"operation": "ListModels", "delay": math.nan}, "'delay' is a number of seconds"),
        ({"operation": "ListModels", "error": ""}, "needs a 'delay'"),
        ({"operation": "ListModels", "id": "1"}, "'id' is no member"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(fault: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationException, match=said):
        Faults().add(fault)


def test_each_fault_is_used_once_by_many_threads() -> None:
    asked, hits = Faults(), []
    asked.add({"operation": "*", "calls": 50})

    def call() -> None:
        hits.extend(outcomes(asked, "ListModels", 20))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(hits), hits.count("ThrottlingException")) == (160, 50)


def admin(endpoint: Endpoint, method: str, path: str = "", document: Any = None) -> tuple[int, dict[str, Any]]:
    """A signed admin call."""
    body = b"" if document is None else json.dumps(document).encode()
    return signed_request(endpoint, method, "/_localaws/faults" + path, body)


def code(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and error code of a call that is refused."""
    with pytest.raises(ClientError) as refused:
        call()
    return refused.value.response["ResponseMetadata"]["HTTPStatusCode"], refused.value.response["Error"]["Code"]


def once(endpoint: Endpoint, service: str, attempts: int = 1) -> Any:
    """A client that tries so many times."""
    env = endpoint.environment()
    return boto3.client(
        service,
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}, s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="module")
def shaky(start_endpoint: Callable[..., Endpoint]) -> Endpoint:
    """An endpoint whose calls may fail; the other tests' endpoint stays whole."""
    return start_endpoint()


def test_faults_through_the_port(shaky: Endpoint) -> None:
    sagemaker = once(shaky, "sagemaker")
    asked = {"operation": "ListModels", "error": "ThrottlingException", "calls": 2}
    status, fault = admin(shaky, "POST", document=asked)
    assert (status, fault["calls"], fault["operation"]) == (201, 2, "ListModels")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert code(sagemaker.list_models) == (400, "ThrottlingException")
    assert [left["calls"] for left in admin(shaky, "GET")[1]["Faults"]] == [1]
    assert admin(shaky, "DELETE", "/" + fault["id"]) == (200, {"Cleared": 1})
    assert sagemaker.list_models()["Models"] == []
    assert admin(shaky, "DELETE", "/" + fault["id"])[0] == 400
    assert admin(shaky, "POST", document={"operation": "ListModels", "error": "no"})[0] == 400
    assert admin(shaky, "POST", document=[])[1]["message"] == "The body of POST /_localaws/faults is not a JSON object"
    admin(shaky, "POST", document={"operation": "*"})
    assert admin(shaky, "PATCH")[1]["__type"] == "ValidationException"
    assert admin(shaky, "DELETE") == (200, {"Cleared": 1})
    assert signed_request(shaky, "GET", "/_localaws/other", b"")[1]["__type"] == "ResourceNotFound"


def test_every_client_retries_what_it_should(shaky: Endpoint) -> None:
    """boto3 as everybody has it: the faults are behind its retries, and are used up."""
    sagemaker = once(shaky, "sagemaker", attempts=3)
    for error in ("ThrottlingException", "InternalFailure", "ServiceUnavailable"):
        admin(shaky, "POST", document={"operation": "ListModels", "error": error})
        answer = sagemaker.list_models()
        assert (answer["Models"], answer["ResponseMetadata"]["RetryAttempts"]) == ([], 1)


def test_a_lost_answer_leaves_the_job(shaky: Endpoint, name: str) -> None:
    client_of(shaky, "s3").create_bucket(Bucket="data")
    sagemaker = once(shaky, "sagemaker")
    lost = {"operation": "CreateTrainingJob", "error": "InternalFailure", "lost": True}
    admin(shaky, "POST", document=lost)
    assert code(lambda: sagemaker.create_training_job(**training_request(name))) == (500, "InternalFailure")
    assert sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobName"] == name
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)


@pytest.mark.parametrize(
    ("operation", "service", "call", "arguments", "expected"),
    [
        ("s3:PutObject", "s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x" * 3000000}, (503, "SlowDown")),
        ("s3:HeadObject", "s3", "head_object", {"Bucket": "b", "Key": "k"}, (503, "503")),
        ("s3:ListObjectsV2", "s3", "list_objects_v2", {"Bucket": "b"}, (503, "SlowDown")),
        ("logs:*", "logs", "describe_log_groups", {}, (400, "ThrottlingException")),
        ("cloudwatch:ListMetrics", "cloudwatch", "list_metrics", {}, (400, "ThrottlingException")),
        ("sts:GetCallerIdentity", "sts", "get_caller_identity", {}, (400, "Throttling")),
        (
            "InvokeEndpoint", "sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"1"},
            (400, "ThrottlingException"),
        ),
    ],
)  # fmt: skip
def test_calls_of_every_service(
    shaky: Endpoint, operation: str, service: str, call: str, arguments: dict[str, Any], expected: tuple[int, str]
) -> None:
    client = once(shaky, service)
    admin(shaky, "POST", document={"operation": operation, "calls": 1})
    assert code(lambda: getattr(client, call)(**arguments)) == expected
    assert admin(shaky, "GET") == (200, {"Faults": []})
    # The connection is still in step: the next call on it is answered as usual.
    if service == "s3":
        assert client.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_names_of_s3_operations_are_those_of_the_model() -> None:
    """Every operation as botocore itself writes it on the wire."""
    service = shapes.service("s3")
    serializer = create_serializer("rest-xml", include_validation=False)
    seen = {}
    for wanted in (name for name, *_ in names._operations()):
        model = service.operation_model(wanted)
        shape = model.input_shape
        given = {member: _example(shape.members[member]) for member in (shape.required_members if shape else ())}
        request = serializer.serialize_to_request(given, model)
        uri = request["url_path"] + ("&" if "?" in request["url_path"] else "?") + urlencode(request["query_string"])
        environ = {"REQUEST_METHOD": request["method"], "REQUEST_URI": uri, "HTTP_HOST": "127.0.0.1:1"}
        environ |= {"HTTP_" + k.upper().replace("-", "_"): v for k, v in request["headers"].items()}
        seen[wanted] = names.operation_name(environ)
    assert seen == {wanted: wanted for wanted in seen}
    assert len(seen) > 100


def _example(shape: Any) -> Any:
    values = {"string": "x", "integer": 1, "long": 1, "boolean": True, "blob": b"", "list": [], "map": {}}
    if shape.type_name == "structure":
        return {}
    return (getattr(shape, "enum", None) or [values.get(shape.type_name, "x")])[0]


def test_a_tag_that_means_nothing_is_refused_at_create(shaky: Endpoint, name: str) -> None:
    sagemaker = once(shaky, "sagemaker")
    for value, said in (("nonsense", "'nonsense', which is no fault"), ("fail-health-check", "cannot have the fault")):
        with pytest.raises(ClientError, match=said) as refused:
            sagemaker.create_training_job(**training_request(name, Tags=[{"Key": TAG, "Value": value}]))
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError, match="CreateModelPackageGroup takes no tag"):
        sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=[{"Key": TAG, "Value": "hang"}])
    with pytest.raises(ClientError, match="ValidationException"):
        sagemaker.describe_training_job(TrainingJobName=name)
