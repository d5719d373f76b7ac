"""Switching an alias from an index to its copy without losing a write, and tidying up after it."""

from __future__ import annotations

from typing import Any

from elasticsearch import Elasticsearch

from crosslens.errors import MigrationError
from crosslens.ingest.run.copy_state import CopyState, has_switched, read_state, write_state
from crosslens.ingest.run.following import Follower
from crosslens.retrying import GO_ON


def switch(copy: Follower, alias: str, block: bool) -> None:
    """Switches the alias from the original to the copy, once both hold the same documents.

    With ``block`` the original refuses writes for the last round. Raises `MigrationError` where documents are missing.
    """
    client, old, into, report = copy.run.client, copy.run.index, copy.into, copy.report
    state = read_state(client, into)
    blocked = _is_blocked(client, old)
    ours = block and (not blocked or (state is not None and state.blocked))
    # Noted first: whoever goes on after a kill knows whose block it is.
    write_state(client, into, CopyState(old, alias, blocked=ours))
    if ours:
        client.indices.add_block(index=old, block="write")
    copy.catch_up(to_the_end=block or blocked)
    if report.failed.get("document"):
        raise MigrationError(f"{report.failures[0].reason}: not every document could be written to {into!r}")
    if report.count_before != report.count_after:
        raise MigrationError(
            f"{into!r} has {report.count_after} documents and {old!r} {report.count_before}; "
            f"the alias {alias!r} stays as it is",
            hint=f"{GO_ON}; let {old!r} refuse writes meanwhile",
        )
    aliases = client.options(ignore_status=404).indices.get_alias(name=alias).body
    present = aliases.get(old, {}).get("aliases", {}).get(alias)
    actions: list[dict[str, Any]] = [{"add": {"index": into, "alias": alias, **(present or {})}}]
    if present is not None:
        actions.insert(0, {"remove": {"index": old, "alias": alias}})
    client.indices.update_aliases(actions=actions)
    report.switched = True


def tidy(client: Elasticsearch, old: str, into: str) -> None:
    """Takes the write block off the original again if it is ours; ends the copy if the alias was switched."""
    state = read_state(client, into)
    if state is None:
        return
    if state.blocked:
        client.indices.put_settings(index=old, settings={"index.blocks.write": None})
    if has_switched(client, into):
        write_state(client, into, None)
    elif state != CopyState(state.of):
        write_state(client, into, CopyState(old))


def _is_blocked(client: Elasticsearch, index: str) -> bool:
    settings = client.indices.get_settings(index=index, name="index.blocks.write", flat_settings=True)
    return bool(settings.body.get(index, {}).get("settings", {}).get("index.blocks.write") == "true")
