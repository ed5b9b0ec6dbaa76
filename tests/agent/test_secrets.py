"""The node's secrets: encrypted on disk, put by the owner's command, had by components whom `accessControl` lets."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from awsiot.greengrasscoreipc import model
from click.testing import CliRunner, Result

from greengrass_agent.ipc.operation import Caller, IpcError
from greengrass_agent.ipc.operations.secrets import SecretOperations
from greengrass_agent.secrets.command import main
from greengrass_agent.secrets.secret import CURRENT, PREVIOUS, Secret, Version
from greengrass_agent.secrets.store import SecretStore
from hitless.files import StateError
from tests.docs.commands import commands

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"


class Node:
    """A node's folder, its owner's command, and what a component is answered."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.key = self.root / "secrets.key"
        self.config = folder / "agent.json"
        self.config.write_text(
            json.dumps(
                {
                    "thing": "n1",
                    "node_id": 1,
                    "node_address": "127.0.0.1",
                    "broker": {"host": "127.0.0.1", "port": 1883},
                    "reports": {"address": "127.0.0.1"},
                    "root": str(self.root),
                    "log_dir": str(folder / "logs"),
                    "cgroup": {"version": 2, "paths": {"unified": "/sys/fs/cgroup/n1"}},
                }
            )
        )
        self.store = SecretStore(self.root, self.key)
        (self.operation,) = SecretOperations(self.store).operations()

    def run(self, command: str, *arguments: str, value: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, [command, *arguments, "--config", str(self.config)], input=value)

    def put(self, name: str, value: str | bytes, *options: str) -> None:
        result = self.run("put", name, *options, value=value)
        assert result.exit_code == 0, result.output

    def ask(self, **request: Any) -> model.GetSecretValueResponse:
        """What a component is answered, as the SDK reads it."""
        answer = asyncio.run(self.operation.call(Caller("c", 1), request, None))  # type: ignore[arg-type]
        return model.GetSecretValueResponse._from_payload(answer)

    def text(self, **request: Any) -> str:
        value = self.ask(**request).secret_value
        assert value is not None and value.secret_string is not None and value.secret_binary is None
        return str(value.secret_string)

    def refused(self, **request: Any) -> IpcError:
        with pytest.raises(IpcError) as raised:
            self.ask(**request)
        return raised.value


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_secret_is_had_as_it_was_put_and_lies_encrypted(node: Node) -> None:
    node.put("db", "hunter2\n", "--arn", ARN)
    node.put("raw", b"\x00\xff\n", "--binary")
    for secret_id in ("db", ARN):
        answer = node.ask(secretId=secret_id)
        assert (answer.secret_id, answer.version_stage) == (ARN, [CURRENT])
        assert node.text(secretId=secret_id) == "hunter2", "the line break is the terminal's"
    binary = node.ask(secretId="raw").secret_value
    assert binary is not None and (binary.secret_binary, binary.secret_string) == (b"\x00\xff\n", None)
    for path in node.root.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert b"hunter2" not in path.read_bytes() and base64.b64encode(b"hunter2") not in path.read_bytes()


def test_a_new_version_is_had_at_once_and_the_old_one_by_label_and_id(node: Node) -> None:
    node.put("db", "one")
    first = node.ask(secretId="db").version_id
    node.put("db", "two")
    assert node.text(secretId="db", refresh=True) == node.text(secretId="db", versionStage=CURRENT) == "two"
    assert node.text(secretId="db", versionStage=PREVIOUS) == node.text(secretId="db", versionId=first) == "one"
    node.put("db", "next", "--stage", "BETA")
    assert (node.text(secretId="db"), node.text(secretId="db", versionStage="BETA")) == ("two", "next")
    node.put("db", "three")
    gone = node.refused(secretId="db", versionId=first)
    assert (gone.code, gone.fields) == ("ResourceNotFoundError", {"resourceType": "secret"})
    assert f"Version Id {first} not found for secret db" in gone.message


def test_labels_move_as_in_secrets_manager() -> None:
    def version(number: int) -> Version:
        return Version(str(number), "string", "", number, ())

    def labels(secret: Secret) -> dict[str, set[str]]:
        return {one.id: set(one.stages) for one in secret.versions}

    secret = Secret(ARN).put(version(1), "BETA")
    assert labels(secret) == {"1": {CURRENT, "BETA"}}, "the first is current, whatever its label"
    secret = secret.put(version(2), CURRENT)
    assert labels(secret) == {"1": {PREVIOUS, "BETA"}, "2": {CURRENT}}
    secret = secret.put(version(3), CURRENT)
    assert labels(secret) == {"1": {"BETA"}, "2": {PREVIOUS}, "3": {CURRENT}}
    secret = secret.put(version(4), "BETA")
    assert labels(secret) == {"2": {PREVIOUS}, "3": {CURRENT}, "4": {"BETA"}}, "one without a label is forgotten"


def test_what_is_not_there_and_what_is_asked_wrongly(node: Node) -> None:
    assert node.refused(secretId="db").code == "ResourceNotFoundError"
    node.put("db", "one")
    assert "Version stage BETA not found" in node.refused(secretId="db", versionStage="BETA").message
    for request in (
        {},
        {"secretId": "db", "versionId": "1", "versionStage": CURRENT},
        {"secretId": "db", "versionId": 1},
    ):
        assert node.refused(**request).code == "ServiceError"


def test_access_control_is_asked_about_the_arn(node: Node) -> None:
    assert node.operation.service == "aws.greengrass.SecretManager" and node.operation.resource is not None
    node.put("db", "one", "--arn", ARN)
    assert node.operation.resource({"secretId": "db"}) == node.operation.resource({"secretId": ARN}) == ARN
    assert node.operation.resource({"secretId": "other"}) == "other", "nobody learns that it is not there"
    node.put("own/name", "one")
    assert node.operation.resource({"secretId": "own/name"}).endswith(":000000000000:secret:own/name")


def test_a_value_opens_only_with_its_key_and_in_its_place(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.put("a", "for a")
    node.put("b", "for b")
    file = node.root / "secrets.json"
    document = json.loads(file.read_text())
    a, b = (document["secrets"][name]["versions"][0] for name in "ab")
    a["sealed"], b["sealed"] = b["sealed"], a["sealed"]
    file.write_text(json.dumps(document))
    refused = node.refused(secretId="a")
    assert refused.code == "ServiceError" and "log says why" in refused.message
    assert "has been changed on disk: put the secret again" in caplog.text
    node.put("a", "for a")
    assert node.text(secretId="a") == "for a"
    key = node.key.read_bytes()
    node.key.write_bytes(base64.b64encode(bytes(32)))
    assert node.refused(secretId="a").code == "ServiceError"
    node.key.write_bytes(key)
    node.key.chmod(0o640)
    assert node.refused(secretId="a").code == "ServiceError"
    assert "others than its owner may read it" in caplog.text


def test_without_its_key_nothing_is_put_beside_what_nobody_could_read(node: Node) -> None:
    node.put("a", "one")
    node.key.unlink()
    result = node.run("put", "b", value="two")
    assert result.exit_code == 1 and "there is no key" in result.output and "Traceback" not in result.output
    with pytest.raises(StateError, match="put it back"):
        node.store.read("a", None, None)


def test_the_command_lists_without_values_and_removes(node: Node) -> None:
    assert node.run("list").output == ""
    node.put("db", "hunter2", "--arn", ARN)
    listed = node.run("list").output
    assert listed.startswith(f"db  {ARN}\n") and f"string  {CURRENT}" in listed and "hunter2" not in listed
    assert "there is no secret x; there are: db" in node.run("remove", "x").output
    taken = node.run("put", "other", "--arn", ARN, value="x")
    assert taken.exit_code == 1 and "is the ARN of db already" in taken.output
    assert node.run("remove", "db").exit_code == 0
    assert node.refused(secretId="db").code == "ResourceNotFoundError"


@pytest.mark.parametrize(
    "arguments, value, reason",
    [
        (("a b",), "x", "a name of letters, digits"),
        (("db",), "\n", "the value is empty"),
        (("db",), b"\xff", "give --binary"),
        (("db",), "x" * 65537, "more than 65536 bytes"),
        (("db", "--arn", "arn:aws:s3:::x"), "x", "the ARN of a secret"),
        (("db", "--stage", PREVIOUS), "x", "what was AWSCURRENT before"),
        (("db", "--from", "/nowhere"), None, "No such file"),
        (("db", "hunter2"), None, "unexpected extra argument"),
    ],
)
def test_what_the_command_refuses(
    node: Node, arguments: tuple[str, ...], value: str | bytes | None, reason: str
) -> None:
    result = node.run("put", *arguments, value=value)
    assert result.exit_code != 0 and reason in result.output and "Traceback" not in result.output
    assert not (node.root / "secrets.json").exists()


def test_the_commands_of_the_page_run(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password.txt").write_text("hunter2\n")
    node.config.rename("agent.yaml")
    shown = [one.words for one in commands("docs/compatibility.md") if "greengrass_agent.secrets" in one.words]
    assert len(shown) == 4
    for words in shown:
        redirected = words[:-2] if "<" in words else words
        result = CliRunner().invoke(main, redirected[3:], input=Path(words[-1]).read_bytes() if "<" in words else None)
        assert result.exit_code == 0, result.output
    assert node.store.all() == {}


def test_a_value_is_taken_from_a_file(node: Node, tmp_path: Path) -> None:
    (tmp_path / "value").write_text("from a file\r\n")
    node.put("db", "", "--from", str(tmp_path / "value"))
    assert node.text(secretId="db") == "from a file"
