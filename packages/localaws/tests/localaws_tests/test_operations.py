"""All 425 operations: each is answered or refused by name, and no request that fits the model is a fault."""

from __future__ import annotations

import json
import random
import sys
from functools import reduce

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from localaws import registry, resources, shapes
from localaws.errors import ApiError, ValidationException
from localaws_tests.conftest import client_of
from localaws_tests.sample_requests import minimal, without

resources.load()
MODEL = shapes.service()
REFUSED = sorted(set(MODEL.operation_names) - set(registry.OPERATIONS))
ANSWERED = sorted(registry.OPERATIONS)


@pytest.fixture(scope="module")
def unchecked(endpoint):
    """A client that sends whatever it is given."""
    return client_of(endpoint, "sagemaker", parameter_validation=False)


def test_operations_that_are_not_there_are_refused_by_name_through_boto3(unchecked):
    assert len(MODEL.operation_names) == 425
    for name in REFUSED:
        with pytest.raises(ClientError) as caught:
            getattr(unchecked, xform_name(name))()
        error = caught.value.response
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error["Error"] == {
            "Code": "ValidationException",
            "Message": f"The operation {name} is not supported by the local AWS endpoint",
        }


def test_an_operation_that_aws_has_not_is_told_apart(endpoint):
    with pytest.raises(ApiError) as caught:
        endpoint._application.call("CreateUnicorn", b"{}")
    assert caught.value.code == "UnknownOperationException"


@pytest.fixture(scope="module")
def apart(start_endpoint):
    """An endpoint of its own: what these requests leave behind disturbs nobody."""
    return start_endpoint()


def status_of(endpoint, name, body):
    """The HTTP status of an answer; what is no ApiError is a fault and ends the test."""
    try:
        endpoint._application.call(name, body)
    except ApiError as error:
        return error.status
    return 200


@pytest.mark.parametrize("name", ANSWERED)
def test_no_request_that_fits_the_model_is_a_fault(apart, name):
    shape = MODEL.operation_model(name).input_shape
    rng = random.Random(name)
    refused = getattr(sys.modules[registry.OPERATIONS[name].__module__], "UNSUPPORTED", ())
    refused = refused.get(name, ()) if isinstance(refused, dict) else refused
    for turn in range(16):
        request = minimal(shape, optional=turn / 15, rng=rng)
        if turn % 4:  # most with what is refused in any case left out, so that the rest is looked at
            request = reduce(without, refused, request)
        assert status_of(apart, name, json.dumps(request).encode()) < 500


@pytest.mark.parametrize("name", ANSWERED)
def test_an_empty_request_names_what_is_missing(apart, name):
    shape = MODEL.operation_model(name).input_shape
    required = shape.required_members if shape else ()
    if not required:  # a List, or a Create with a rule of its own
        assert status_of(apart, name, b"{}") in (200, ValidationException.status)
        return
    with pytest.raises(ApiError) as caught:
        apart._application.call(name, b"{}")
    assert caught.value.code == "ValidationException"
    for member in required:
        wanted = (
            f"Value null at '{member[:1].lower() + member[1:]}' failed to satisfy constraint: Member must not be null"
        )
        assert wanted in caught.value.message
