"""Data capture: records, files, the buffer, and what an endpoint really writes."""

import base64
import json
import re
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.serving.capture import CaptureBuffer, CaptureConfig, CapturedPayload, object_uri, record_line
from localaws_tests import serving_fixtures
from localaws_tests.serving_fixtures import BUCKET

server = serving_fixtures.server

AT = datetime(2026, 11, 20, 7, 5, 9, 42_000, UTC)
ALL = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


def config(**changes) -> CaptureConfig:
    found = CaptureConfig.of({**ALL, **changes})
    assert found is not None
    return found


def record(request: CapturedPayload, response: CapturedPayload, **changes):
    options = {"event_id": "e1", **changes}
    line = record_line(config(**options.pop("config", {})), request, response, AT, **options)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def test_a_record_has_the_fields_of_the_developer_guide():
    found = record(CapturedPayload(b"1,2\n", "text/csv"), CapturedPayload(b"0.5", "text/csv; charset=utf-8"))
    assert found == {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2\n", "encoding": "CSV"},
            "endpointOutput": {
                "observedContentType": "text/csv; charset=utf-8",
                "mode": "OUTPUT",
                "data": "0.5",
                "encoding": "CSV",
            },
        },
        "eventMetadata": {"eventId": "e1", "inferenceTime": "2026-11-20T07:05:09Z"},
        "eventVersion": "0",
    }


def test_inference_id_and_custom_attributes_are_kept():
    found = record(
        CapturedPayload(b"1", "text/csv"),
        CapturedPayload(b"2", "text/csv"),
        inference_id="i1",
        custom_attributes="trace=7",
    )
    assert found["eventMetadata"]["inferenceId"] == "i1"
    assert found["eventMetadata"]["customAttributes"] == ["trace=7"]


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "data"),
    [
        (b'{"a": 1}', "application/json", "JSON", '{"a": 1}'),
        (b"1,2", "application/x-other", "BASE64", "MSwy"),
        (b"1,2", None, "BASE64", "MSwy"),
        (b"\xff\xfe", "text/csv", "BASE64", "//4="),
    ],
)
def test_encoding_follows_the_configured_content_types(body, content_type, encoding, data):
    side = record(CapturedPayload(body, content_type), CapturedPayload(b"", None))["captureData"]["endpointInput"]
    assert (side["encoding"], side["data"]) == (encoding, data)
    assert ("observedContentType" in side) == (content_type is not None)


def test_without_content_type_headers_everything_is_base64():
    side = record(
        CapturedPayload(b"1", "text/csv"), CapturedPayload(b"", None), config={"CaptureContentTypeHeader": {}}
    )
    assert side["captureData"]["endpointInput"]["encoding"] == "BASE64"


@pytest.mark.parametrize(
    ("mode", "sides"),
    [
        ("Input", {"endpointInput"}),
        ("Output", {"endpointOutput"}),
        ("InputAndOutput", {"endpointInput", "endpointOutput"}),
    ],
)
def test_only_the_asked_sides_are_captured(mode, sides):
    found = record(
        CapturedPayload(b"1", "text/csv"),
        CapturedPayload(b"2", None),
        config={"CaptureOptions": [{"CaptureMode": mode}]},
    )
    assert set(found["captureData"]) == sides


@given(st.binary(max_size=40), st.sampled_from(["text/csv", "application/json", "image/png", None]))
def test_the_body_can_always_be_had_back(body, content_type):
    side = record(CapturedPayload(body, content_type), CapturedPayload(b"", None))["captureData"]["endpointInput"]
    data = side["data"]
    assert (base64.b64decode(data) if side["encoding"] == "BASE64" else data.encode()) == body


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_sampling_takes_the_percentage(percentage, draw):
    assert config(InitialSamplingPercentage=percentage).sampled(lambda: draw) == (draw < percentage / 100)


@pytest.mark.parametrize("given_", [None, {}, {**ALL, "EnableCapture": False}])
def test_capture_can_be_off(given_):
    assert CaptureConfig.of(given_) is None


def test_file_names_hold_the_hour_minute_second_and_millisecond():
    assert object_uri("s3://b/p/", "ep", "v", AT, "u") == "s3://b/p/ep/v/2026/11/20/07/05-09-042-u.jsonl"


def test_a_record_that_cannot_be_written_is_kept_for_the_next_time():
    written, broken = {}, [True]

    def put(uri, body):
        if broken.pop() if broken else False:
            raise OSError("no space")
        written[uri] = body

    buffer = CaptureBuffer(put, interval=60)
    for number in range(3):
        buffer.add("s3://b", "ep", "v", AT, b"%d\n" % number)
    buffer.flush()
    assert written == {}
    buffer.add("s3://b", "ep", "v", AT, b"3\n")
    buffer.close()
    assert list(written.values()) == [b"0\n1\n2\n3\n"]


def test_hours_have_files_of_their_own_and_flush_takes_one_endpoint():
    written = {}
    buffer = CaptureBuffer(written.__setitem__, interval=60)
    buffer.add("s3://b", "ep", "v", AT, b"1\n")
    buffer.add("s3://b", "ep", "v", AT.replace(hour=8), b"2\n")
    buffer.add("s3://b", "other", "v", AT, b"3\n")
    buffer.flush("ep")
    assert sorted(written.values()) == [b"1\n", b"2\n"]
    buffer.close()
    assert sorted(written.values()) == [b"1\n", b"2\n", b"3\n"]


def test_records_are_written_without_being_asked():
    done = threading.Event()
    buffer = CaptureBuffer(lambda _uri, _body: done.set(), interval=0.01)
    buffer.add("s3://b", "ep", "v", AT, b"1\n")
    assert done.wait(240)
    buffer.close()


@pytest.mark.executes("CreateEndpointConfig", "InvokeEndpoint")
def test_an_endpoint_writes_what_it_was_asked_and_what_it_said(server):
    server.create_model("captured", 3)
    server.create_config("captured", "captured", capture=ALL)
    server.create_endpoint("captured", "captured")
    described = server.sagemaker.describe_endpoint(EndpointName="captured")["DataCaptureConfig"]
    assert described["CaptureStatus"] == "Started"
    assert described["CurrentSamplingPercentage"] == 100
    for number in range(5):
        server.invoke("captured", f"{number}\n", InferenceId=f"id-{number}", CustomAttributes="trace=1")
    server.delete_endpoint("captured")  # writes what is still held
    files = server.objects("capture/captured/")
    name = r"capture/captured/AllTraffic/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl"
    assert all(re.fullmatch(name, key) for key in files)
    records = [json.loads(line) for body in files.values() for line in body.splitlines()]
    assert {r["eventMetadata"]["inferenceId"] for r in records} == {f"id-{n}" for n in range(5)}
    assert len({r["eventMetadata"]["eventId"] for r in records}) == len(records) == 5
    sides = {(r["captureData"]["endpointInput"]["data"], r["captureData"]["endpointOutput"]["data"]) for r in records}
    assert sides == {(f"{n}\n", f"{3.0 * n}\n") for n in range(5)}
    assert all(r["eventMetadata"]["customAttributes"] == ["trace=1"] for r in records)


def test_failed_invocations_are_not_captured(server):
    server.create_model("failing")
    server.create_config("failing", "failing", capture={**ALL, "DestinationS3Uri": f"s3://{BUCKET}/failing"})
    server.create_endpoint("failing", "failing")
    with pytest.raises(server.runtime.exceptions.ModelError):
        server.invoke("failing", "break")
    server.delete_endpoint("failing")
    assert server.objects("failing/failing/") == {}
