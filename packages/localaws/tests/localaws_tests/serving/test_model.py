"""Models: what is taken, what is refused, and what a model package or a prefix brings."""

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from localaws.engine.sandbox import choose
from localaws.jobs import s3data
from localaws.serving.model_data import Artifact, ModelDataError, ServedModel, fetch
from localaws_tests import serving_fixtures
from localaws_tests.conftest import log_lines, need_namespaces
from localaws_tests.jobs.tampering import TAMPER
from localaws_tests.serving_fixtures import BUCKET, IMAGE, ROLE, Gate, Marked, running

server = serving_fixtures.server
ARN = "arn:aws:sagemaker:us-east-1:123456789012:model"
DATA = f"s3://{BUCKET}/m/model.tar.gz"
CONTAINER = {"Image": IMAGE, "ModelDataUrl": DATA}


@pytest.fixture(scope="module", autouse=True)
def data(server):
    """The artifact of CONTAINER."""
    server.put_model_data("m/model.tar.gz", 2)


def create(server, name, **members):
    return server.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **members)


def refused(server, **members):
    with pytest.raises(ClientError) as caught:
        create(server, "refused", **members)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return caught.value.response["Error"]["Message"]


@pytest.mark.executes("CreateModel", "DescribeModel")
def test_a_model_is_described_as_it_was_created(server):
    container = {**CONTAINER, "Environment": {"A": "1"}}
    tags = [{"Key": "owner", "Value": "me"}]
    assert create(server, "described", PrimaryContainer=container, Tags=tags)["ModelArn"] == f"{ARN}/described"
    found = server.sagemaker.describe_model(ModelName="described")
    assert found["PrimaryContainer"] == container
    assert found["ExecutionRoleArn"] == ROLE
    assert "Containers" not in found
    assert server.sagemaker.list_tags(ResourceArn=f"{ARN}/described")["Tags"] == tags


def test_a_list_of_one_container_is_a_model(server):
    create(server, "list-of-one", Containers=[CONTAINER])
    assert server.sagemaker.describe_model(ModelName="list-of-one")["Containers"] == [CONTAINER]


@pytest.mark.executes("DeleteModel")
def test_a_deleted_model_is_gone(server):
    create(server, "deleted", PrimaryContainer=CONTAINER)
    server.sagemaker.delete_model(ModelName="deleted")
    for operation in (server.sagemaker.describe_model, server.sagemaker.delete_model):
        with pytest.raises(ClientError) as caught:
            operation(ModelName="deleted")
        assert caught.value.response["Error"]["Message"] == f'Could not find model "{ARN}/deleted".'
        assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_name_is_taken_once(server):
    create(server, "refused", PrimaryContainer=CONTAINER)
    assert refused(server, PrimaryContainer=CONTAINER) == f'Cannot create already existing model "{ARN}/refused".'


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "Exactly one of PrimaryContainer and Containers"),
        ({"PrimaryContainer": CONTAINER, "Containers": [CONTAINER]}, "Exactly one of PrimaryContainer and Containers"),
        ({"Containers": [{**CONTAINER, "ContainerHostname": "a"}] * 2}, "'a' is used twice"),
        (
            {"Containers": [CONTAINER, CONTAINER], "InferenceExecutionConfig": {"Mode": "Direct"}},
            "'InferenceExecutionConfig.Mode' is 'Direct'",
        ),
        ({"PrimaryContainer": {"Image": "unknown:1"}}, "No local image answers to 'unknown:1'"),
        ({"PrimaryContainer": {**CONTAINER, "Mode": "MultiModel"}}, "'PrimaryContainer.Mode' is 'MultiModel'"),
        ({"PrimaryContainer": {**CONTAINER, "ModelPackageName": "p"}}, "Exactly one of 'PrimaryContainer.Image'"),
        ({"PrimaryContainer": {"ModelPackageName": "nobody"}}, "model-package/nobody does not exist"),
        ({"PrimaryContainer": {**CONTAINER, "ModelDataUrl": "https://b/k"}}, "not of the form s3://bucket/key"),
        (
            {
                "PrimaryContainer": {
                    "Image": IMAGE,
                    "ModelDataSource": {
                        "S3DataSource": {"S3Uri": DATA, "S3DataType": "S3Prefix", "CompressionType": "Gzip"}
                    },
                }
            },
            "must be an S3Object with CompressionType Gzip or an S3Prefix with None",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(server, members, message):
    assert message in refused(server, **members)


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/none/model.tar.gz", "s3://no-such-bucket/model.tar.gz"])
def test_an_artifact_that_does_not_exist_is_refused(server, uri):
    container = {"Image": IMAGE, "ModelDataUrl": uri}
    for members in ({"PrimaryContainer": container}, {"Containers": [CONTAINER, container]}):
        assert refused(server, **members) == f"Could not find model data at {uri}."


def test_a_prefix_without_objects_is_refused(server):
    server.s3.put_object(Bucket=BUCKET, Key="hollow/", Body=b"")  # the console's marker of a folder
    server.s3.put_object(Bucket=BUCKET, Key="hollow-not/factor.txt", Body=b"1")
    source = {"S3Uri": f"s3://{BUCKET}/hollow", "S3DataType": "S3Prefix", "CompressionType": "None"}
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}
    assert refused(server, PrimaryContainer=container) == f"Could not find model data at s3://{BUCKET}/hollow."


@pytest.mark.executes("CreateModel", "InvokeEndpoint")
def test_an_uncompressed_model_is_served_from_its_prefix(server):
    uncompressed(server, "plain", factor_txt="8")
    assert server.invoke("plain", "1") == "8.0\n"


def uncompressed(server, name, **files):
    """Create an endpoint `name` whose model is the objects below a prefix."""
    server.put_model_data("unused", 1)
    for key, text in files.items():
        server.s3.put_object(Bucket=BUCKET, Key=f"{name}/{key.replace('_', '.')}", Body=text.encode())
    source = {"S3Uri": f"s3://{BUCKET}/{name}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    # Python imports this file at its start: the model's own code, in a model server without a line for it.
    environment = {"PYTHONPATH": "/opt/ml/model"}
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}, "Environment": environment}
    create(server, name, PrimaryContainer=container)
    server.create_config(name, name)
    server.create_endpoint(name, name)


@pytest.mark.parametrize(("name", "size", "said"), [("large", 1000, "refused"), ("small", 1, "done")])
def test_the_objects_of_an_uncompressed_model_stay_whole(server, monkeypatch, name, size, said):
    need_namespaces(server.endpoint)
    monkeypatch.setattr(s3data, "COPIED", 10_000)
    tamper = TAMPER + "import pathlib; print('tried', tampered(pathlib.Path('/opt/ml/model/kept.txt')), flush=True)"
    uncompressed(server, name, factor_txt="8", kept_txt="kept" * 10 * size, sitecustomize_py=tamper)
    assert server.invoke(name, "1") == "8.0\n"
    with pytest.raises(ClientError):
        server.invoke(name, "crash")
    assert server.invoke_patiently(name, "1") == "8.0\n"  # started again, it is in the same place
    lines = log_lines(server.client("logs"), f"/aws/sagemaker/Endpoints/{name}", "AllTraffic")
    assert next(line for line in lines if line.startswith("tried")) == f"tried ['{said}']"
    assert server.objects(f"{name}/kept.txt") == {f"{name}/kept.txt": b"kept" * 10 * size}


def test_an_uncompressed_model_that_cannot_be_read_only_here_is_served(tmp_path, monkeypatch):
    monkeypatch.setattr(s3data, "COPIED", 0)
    with running(tmp_path / "state", "none") as local:
        uncompressed(local, "none", factor_txt="8")
        assert local.invoke("none", "1") == "8.0\n"


def test_a_package_brings_image_data_and_environment(server):
    uri = server.put_model_data("packaged/model.tar.gz", 9)
    server.sagemaker.create_model_package_group(ModelPackageGroupName="packaged")
    container = {"Image": IMAGE, "ModelDataUrl": uri, "Environment": {"FROM": "package", "KEPT": "yes"}}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    arn = server.sagemaker.create_model_package(ModelPackageGroupName="packaged", InferenceSpecification=specification)[
        "ModelPackageArn"
    ]
    create(server, "packaged", PrimaryContainer={"ModelPackageName": arn, "Environment": {"FROM": "model"}})
    server.create_config("packaged", "packaged")
    server.create_endpoint("packaged", "packaged")
    assert server.invoke("packaged", "1") == "9.0\n"
    assert server.invoke("packaged", "env FROM") == "model"
    assert server.invoke("packaged", "env KEPT") == "yes"


def test_the_container_has_its_environment_and_nothing_of_the_servers(server, monkeypatch):
    monkeypatch.setenv("OF_THE_SERVER", "secret")
    server.create_model("environment", 1, GIVEN="value")
    server.create_config("environment", "environment")
    server.create_endpoint("environment", "environment")
    seen = {
        name: server.invoke("environment", f"env {name}") for name in ("GIVEN", "OF_THE_SERVER", "AWS_ENDPOINT_URL")
    }
    assert seen == {
        "GIVEN": "value",
        "OF_THE_SERVER": "none",
        "AWS_ENDPOINT_URL": server.values["AWS_ENDPOINT_URL"],
    }


def test_an_archive_cannot_leave_the_model_directory(server, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside.txt"), io.BytesIO(b""))
    server.put_model_data("unused", 1)
    server.s3.put_object(Bucket=BUCKET, Key="evil.tar.gz", Body=packed.getvalue())
    with pytest.raises(ModelDataError, match="Failed to extract model data archive"):
        fetch(server.endpoint.ctx.s3, Artifact(f"s3://{BUCKET}/evil.tar.gz"), tmp_path / "model")
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("artifact", [None, Artifact("s3://b/k"), Artifact("s3://b/p/", archive=False)])
def test_a_served_model_survives_the_store(artifact):
    model = ServedModel(IMAGE, artifact, {"A": "1"})
    assert ServedModel.from_document(model.document()) == model


@pytest.mark.parametrize("sandbox", ["bubblewrap", "namespaces"])
@pytest.mark.executes("CreateModel", "InvokeEndpoint")
def test_an_isolated_model_reaches_nothing_and_answers(tmp_path, sandbox):
    try:
        choose(sandbox)
    except ValueError as error:
        pytest.skip(str(error))
    gate, mark = Gate(), Marked()
    with running(tmp_path / "state", sandbox) as local:
        uri = local.put_model_data("isolated/model.tar.gz", 4)
        container = {"Image": IMAGE, "ModelDataUrl": uri, "Environment": mark.variables}
        create(local, "isolated", PrimaryContainer=container, EnableNetworkIsolation=True)
        assert local.sagemaker.describe_model(ModelName="isolated")["EnableNetworkIsolation"] is True
        local.create_model("open", 4)
        for name in ("isolated", "open"):
            local.create_config(name, name)
            local.create_endpoint(name, name)
        assert local.invoke("isolated", "1,2\n3") == "12.0\n12.0\n"
        assert local.invoke("isolated", f"reach {gate.port}") == "ConnectionRefusedError"
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(local.invoke, "open", f"reach {gate.port}")
            gate.wait_reached().close()
            assert answer.result() == "reached"
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: local.invoke("isolated", str(n)), range(50)))
        assert answers == [f"{4.0 * n}\n" for n in range(50)]
        large = "1" + " " * 5_000_000
        assert local.invoke("isolated", large) == "4.0\n"
        # A program that the container could replace by a link would be written through at the next start.
        carriers = (tmp_path / "state").rglob("isolated_server.py")
        assert [path.parent.name for path in carriers] == ["carrier"]
        local.delete_endpoint("isolated")
        assert mark.pids() == []
    gate.close()


def test_isolation_that_is_not_possible_is_refused(tmp_path):
    with running(tmp_path / "state", "none") as local:
        text = refused(local, PrimaryContainer={"Image": IMAGE}, EnableNetworkIsolation=True)
    assert "offers no namespaces (sandbox none)" in text


def test_an_isolated_server_that_ends_is_started_again(server):
    need_namespaces(server.endpoint)
    uri = server.put_model_data("again/model.tar.gz", 2)
    create(server, "again", PrimaryContainer={"Image": IMAGE, "ModelDataUrl": uri}, EnableNetworkIsolation=True)
    server.create_config("again", "again")
    server.create_endpoint("again", "again")
    with pytest.raises(ClientError):
        server.invoke("again", "crash")
    assert server.invoke_patiently("again", "1") == "2.0\n"
    server.delete_endpoint("again")


@pytest.fixture(scope="module")
def pipeline(server):
    """An endpoint whose requests go through three containers: times 2, times 3, times 5."""
    containers = [
        {"Image": IMAGE, "ModelDataUrl": server.put_model_data(f"pipeline/{factor}/model.tar.gz", factor)}
        for factor in (2, 3, 5)
    ]
    containers[1]["ContainerHostname"] = "middle"
    create(server, "pipeline", Containers=containers)
    server.create_config("pipeline", "pipeline")
    server.create_endpoint("pipeline", "pipeline")
    return "pipeline"


@pytest.mark.executes("CreateModel", "CreateEndpoint", "InvokeEndpoint")
def test_a_pipeline_hands_answers_on(server, pipeline):
    assert server.invoke(pipeline, "1\n2") == "30.0\n60.0\n"
    streams = server.client("logs").describe_log_streams(logGroupName=f"/aws/sagemaker/Endpoints/{pipeline}")
    names = sorted(stream["logStreamName"].split("/")[-1] for stream in streams["logStreams"])
    assert names == ["container-1", "container-3", "middle"]
    assert len(server.sagemaker.describe_model(ModelName="pipeline")["Containers"]) == 3


def test_the_container_that_fails_is_named(server, pipeline):
    with pytest.raises(ClientError, match=r'Received client error \(415\) from container-1 with message "told to rej'):
        server.invoke(pipeline, "reject")


def test_a_pipeline_is_refused_where_it_is_not_served(server, pipeline):
    with pytest.raises(ClientError, match="inference pipeline of 3 containers"):
        server.create_config("bad", pipeline, ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1},
                             InstanceType=None, InitialInstanceCount=None)  # fmt: skip
