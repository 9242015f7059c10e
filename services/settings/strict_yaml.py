"""Strict YAML: a safe loader that refuses a key that stands twice in one mapping.

Other YAML loaders drop the first of the two without a word.
"""

from typing import Any

import yaml

InvalidYaml = yaml.YAMLError
"""The text is not YAML, or has a key twice."""


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands here and once more in the same group", key.start_mark
                )
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """Parse one YAML document; an empty one is None.

    Raises:
        InvalidYaml: the text is not YAML, or has a key twice.
    """
    return yaml.load(text, _StrictLoader)  # noqa: S506 - it is a SafeLoader
