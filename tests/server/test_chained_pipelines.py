"""A default pipeline that an index has already: ours calls it first, and it is back when ours goes.

Elasticsearch's own processor that calls another pipeline is in its server; only what registers it, the module
ingest-common, isn't on Maven Central. So a small plugin registers it here, with a processor to see it work by.
"""

from __future__ import annotations

import base64
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crosslens.client import Connection, connect
from crosslens.errors import MappingError
from crosslens.index import Index
from crosslens.ingest.contract.targets import ImageField, TextField
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node import Node
from crosslens.node.home import assemble
from crosslens.node.installing import install_models, install_plugin
from crosslens.node.jvm import compiled_release, find_java
from tests.commands import run
from tests.conftest import VERSIONS, Server
from tests.server.conftest import Http, Plugged, plugin_zip
from tests.server.test_pipelines import default_of

pytestmark = pytest.mark.node

SOURCE = """
package org.crosslens.tests;

import java.util.Locale;
import java.util.Map;
import org.elasticsearch.ingest.*;
import org.elasticsearch.plugins.*;

public class Common extends Plugin implements IngestPlugin {
    @Override
    public Map<String, Processor.Factory> getProcessors(Processor.Parameters parameters) {
        Processor.Factory shout = (ARGUMENTS) -> new Shout(tag, description);
        return Map.of("pipeline", new PipelineProcessor.Factory(parameters.ingestService), "shout", shout);
    }

    static class Shout extends AbstractProcessor {
        Shout(String tag, String description) {
            super(tag, description);
        }

        @Override
        public IngestDocument execute(IngestDocument document) {
            String title = document.getFieldValue("title", String.class);
            document.setFieldValue("title", title.toUpperCase(Locale.ROOT));
            document.setFieldValue("seen", document.hasField("crosslens") == false);
            return document;
        }

        @Override
        public String getType() {
            return "shout";
        }
    }
}
"""
DESCRIPTOR = """\
name=common
description=for tests
version=1
elasticsearch.version={version}
java.version={java}
classname=org.crosslens.tests.Common
"""


def install_common(folder: Path, version: str, tmp: Path) -> None:
    """Compile the small plugin and put it beside ours."""
    java = find_java(version)
    source, classes = tmp / "Common.java", tmp / "classes"
    arguments = "all, tag, description, settings" + (", project" if version.startswith("9") else "")
    source.write_text(SOURCE.replace("ARGUMENTS", arguments))
    libraries = f"{assemble(version, java) / 'lib'}/*"
    release = str(compiled_release(version))
    command = [str(java.javac), "-nowarn", "--release", release, "-d", str(classes), "-cp", libraries, str(source)]
    subprocess.run(command, check=True, capture_output=True)
    place = folder / "plugins" / "common"
    place.mkdir(parents=True)
    (place / "plugin-descriptor.properties").write_text(DESCRIPTOR.format(version=version, java=release))
    with zipfile.ZipFile(place / "common.jar", "w") as jar:
        for file in classes.rglob("*.class"):
            jar.write(file, file.relative_to(classes))


@pytest.fixture(scope="module", params=VERSIONS)
def common(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zips: Path) -> Iterator[Plugged]:
    version = str(request.param)
    folder = tmp_path_factory.mktemp(f"common-{version}")
    install_plugin(plugin_zip(version, zips), folder)
    install_models([DEMO_MODEL], folder)
    install_common(folder, version, tmp_path_factory.mktemp("java"))
    with Node(folder, version=version, heap="512m") as node:
        client = connect(Connection(url=node.url))
        yield Plugged(Server(node, client, version), Http(node.url), folder)


def written(common: Plugged, index: str, id: str) -> dict[str, object]:
    """What becomes of a document that is written now."""
    common.http.ok("PUT", f"{index}/_doc/{id}?refresh", {"title": "a red hat"})
    return common.server.source(index, id)


def test_a_default_pipeline_of_the_users_runs_first_and_is_back_in_the_end(
    common: Plugged, demo_encoder: Encoder
) -> None:
    client = common.server.client
    client.ingest.put_pipeline(id="theirs", processors=[{"shout": {}}])
    mappings: dict[str, object] = {"properties": {"title": {"type": "text"}, "seen": {"type": "boolean"}}}
    name = common.server.new_index(mappings, [{"title": "a shoe"}])
    client.indices.put_settings(index=name, settings={"index.default_pipeline": "theirs"})
    index = Index(name, client=client, model=DEMO_MODEL)
    index.add(TextField("title", index_type="hnsw"))
    for _ in range(2):
        # Again, it doesn't call itself.
        done = run("plugin", "pipeline", name, "--default", "--url", common.server.node.url)
        assert done.returncode == 0, done.stderr
        assert default_of(common, name) == f"crosslens-{name}"
        chained = client.ingest.get_pipeline(id=f"crosslens-{name}").body[f"crosslens-{name}"]["processors"]
        assert [next(iter(each)) for each in chained] == ["pipeline", "crosslens"]
    source = written(common, name, "1")
    assert (source["title"], source["seen"]) == ("A RED HAT", True)
    # Of the title that they made of it, which is also what counts as current.
    expected = demo_encoder.encode_texts(["A RED HAT"])[0]
    assert np.dot(np.asarray(source["title_vector"]), expected) > 0.9999
    assert index.status().fields["title_vector"].done == 2
    assert index.reindex(stale=True, missing=True).written == {}
    # Theirs refuses a document without a title, ours doesn't come to it.
    status, _ = common.http("PUT", f"{name}/_doc/2", {"seen": False})
    assert status == 400
    done = run("plugin", "pipeline", name, "--remove", "--url", common.server.node.url)
    assert done.returncode == 0, done.stderr
    assert default_of(common, name) == "theirs"
    after = written(common, name, "3")
    assert (after["title"], "crosslens" in after, "title_vector" in after) == ("A RED HAT", False, False)


def test_a_field_that_is_removed_takes_our_pipeline_along_and_leaves_theirs(common: Plugged) -> None:
    client = common.server.client
    client.ingest.put_pipeline(id="theirs", processors=[{"shout": {}}])
    name = common.server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "a shoe"}])
    client.indices.put_settings(index=name, settings={"index.default_pipeline": "theirs"})
    index = Index(name, client=client, model=DEMO_MODEL)
    index.add(TextField("title"))
    index.pipeline(default=True)
    index.remove("title_vector")
    assert default_of(common, name) == "theirs"
    assert client.options(ignore_status=404).ingest.get_pipeline(id=f"crosslens-{name}").body == {}
    assert written(common, name, "1")["title"] == "A RED HAT"


def test_indices_behind_one_name_with_pipelines_of_their_own_need_one_each(common: Plugged) -> None:
    client = common.server.client
    names = []
    for pipeline in ("theirs", "others"):
        client.ingest.put_pipeline(id=pipeline, processors=[{"shout": {}}])
        names.append(common.server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "a shoe"}]))
        client.indices.put_settings(index=names[-1], settings={"index.default_pipeline": pipeline})
        client.indices.put_alias(index=names[-1], name=f"{names[0]}-both")
    both = Index(f"{names[0]}-both", client=client, model=DEMO_MODEL)
    both.add(TextField("title"))
    with pytest.raises(MappingError, match="several default pipelines, others, theirs; make a pipeline for each"):
        both.pipeline(default=True)
    assert [default_of(common, each) for each in names] == ["theirs", "others"]
    for name in names:
        Index(name, client=client).pipeline(default=True)
        assert written(common, name, "1")["title"] == "A RED HAT"


def test_a_pipeline_for_images_by_path_needs_a_folder_to_read_them_from(common: Plugged) -> None:
    """This node has none (crosslens.image_folder)."""
    client = common.server.client
    mappings: dict[str, object] = {"properties": {"photo": {"type": "keyword"}}}
    pictures = Path(DEMO_MODEL.parent / "pictures")
    path = next(iter(sorted(pictures.glob("*"))))
    name = common.server.new_index(mappings, [{"photo": path.name}])
    index = Index(name, client=client, model=DEMO_MODEL, image_root=pictures)
    index.add(ImageField("photo"))
    with pytest.raises(MappingError, match=r"by path, and crosslens may read none; set crosslens\.image_folder"):
        index.pipeline(default=True)
    assert default_of(common, name) is None
    inline = "data:image/webp;base64," + base64.b64encode(path.read_bytes()).decode()
    client.index(index=name, id="0", document={"photo": inline}, refresh=True)
    index.pipeline(default=True)
    client.index(index=name, id="1", document={"photo": inline}, refresh=True)
    assert "photo_vector" in common.server.source(name, "1")
