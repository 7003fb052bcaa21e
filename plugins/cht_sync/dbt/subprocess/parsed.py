"""What dbt has parsed, as bytes: kept, handed on and given out again, since each run of dbt changes its manifest."""

from __future__ import annotations

from typing import Any


def read_large_seeds() -> None:
    """Lets dbt look into seeds of any size, or it would not see that one of more than a megabyte has changed.

    Source: ``FilePath.seed_too_large`` in ``dbt/contracts/files.py``
    """
    from dbt.contracts import files

    files.MAXIMUM_SEED_SIZE = 2**40


def packed(manifest: Any) -> bytes:
    """The bytes of a manifest; a ValueError names a node for which dbt would wait for ever.

    A plain msgpack knows no dates, and YAML makes one of what looks like one; dbt's own encoder does.
    Source: ``write_manifest_for_partial_parse`` in ``dbt/parser/manifest.py``.
    """
    for node in manifest.nodes.values():
        key = _odd_key(getattr(node, "meta", None))
        if key is not None:
            raise ValueError(
                f"meta of {node.resource_type} {node.name} has the key {key!r}, which is not a text and makes dbt hang:"
                f" write it in quotes, as '{key}'"
            )
    from dbt.parser.manifest import extended_mashumaro_encoder

    data: bytes = manifest.to_msgpack(extended_mashumaro_encoder)
    return data


def unpacked(data: bytes) -> Any:
    """A manifest of its own."""
    import msgpack
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_msgpack_decoder

    def decode(packed_data: bytes) -> Any:
        # dbt's own decoder refuses keys that are no text, which YAML has for `2024: a`, and parses again each time.
        return msgpack.unpackb(packed_data, ext_hook=extended_msgpack_decoder, raw=False, strict_map_key=False)

    return Manifest.from_msgpack(data, decode)


def _odd_key(value: Any) -> Any:
    """A key within a value that is no text; None where there is none."""
    if isinstance(value, list | tuple):
        return next((key for one in value if (key := _odd_key(one)) is not None), None)
    if isinstance(value, dict):
        for name, one in value.items():
            if not isinstance(name, str):
                return name
            if (key := _odd_key(one)) is not None:
                return key
    return None
