"""`agnesfs version`: what it is made of, for people and as a document."""

import re

import pytest


@pytest.mark.parametrize("word", ["version", "--version"])
def test_text_and_document_say_the_same(agnes, word):
    first, second = agnes.run(word).out.splitlines()
    document = agnes.run(word, "--json").json()
    assert first.startswith(f"agnesfs {document['version']} ({document['machine']}) libfuse/")
    libraries = document["libraries"]
    assert f"libcurl/{libraries['libcurl']} ({libraries.pop('TLS')})" in first
    assert {"libfuse", "libcurl", "cJSON", "xxHash", "OpenSSL"} <= set(libraries)
    for name, version in libraries.items():
        assert re.match(r"\d+(\.\d+)*", version), name
        assert f" {name}/{version}" in first
    assert second.split() == ["Features:", *document["features"]]
    assert document["features"] == sorted(document["features"])
    assert {"landlock", "passthrough", "seccomp"} <= set(document["features"])


def test_a_broken_configuration_does_not_matter(agnes):
    path = agnes.config_home / "agnesfs/config"
    path.parent.mkdir(parents=True)
    path.write_text("nonsense = 1\n")
    agnes.run("ls", expect=2)
    agnes.run("version")
    agnes.run("help")
    assert "usage: agnesfs version" in agnes.run("version", "--help").out


def test_a_word_too_many_is_refused(agnes):
    result = agnes.run("version", "now", "--json", expect=2)
    assert result.json()["exit"] == 2
    assert "agnesfs version [--json]" in result.err
