"""A real Elasticsearch node on this machine, from Maven Central's jars: no Docker, no installation."""

from crosslens.local import NodeStatus, running_url
from crosslens.node.process import DEFAULT_VERSION, Node

__all__ = ["DEFAULT_VERSION", "Node", "NodeStatus", "running_url"]
