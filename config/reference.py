"""The config reference of the README, generated from the schema: `python -m config.reference` prints it."""

from collections.abc import Iterator

from pydantic import BaseModel

from .problems import Path, dotted
from .schema import ComponentConfig, Config, TransformsConfig
from .schema_words import element_of, is_list, section_of, words_of
from .yaml_writer import write_inline


def reference() -> str:
    """Markdown: a table for each section of the config with key, what it takes, default and meaning."""
    tables = [
        *_tables(Config, ()),
        *_table("a component (TYPE alone stands for {type: TYPE})", ComponentConfig, ()),
    ]
    return "\n".join(tables).strip() + "\n"


def _tables(section: type[BaseModel], path: Path) -> Iterator[str]:
    """The table of a section, then those of the sections in it."""
    own = ComponentConfig.model_fields if issubclass(section, ComponentConfig) else ()
    title = dotted(path) + (": a component with" if own else "")
    yield from _table(title or "Top level", section, own)
    for name, field in section.model_fields.items():
        here, below = (*path, name), section_of(field.annotation)
        if below is BaseModel and is_list(field.annotation):
            here, below = (*here, "N"), section_of(element_of(field.annotation))
        # Plain components have a table of their own; lists of transforms need none.
        if below not in (BaseModel, ComponentConfig, TransformsConfig):
            yield from _tables(below, here)


def _table(title: str, section: type[BaseModel], left_out: object) -> Iterator[str]:
    yield f"\n**{title}**\n\n| key | takes | default | meaning |\n|---|---|---|---|"
    defaults = section.model_construct().model_dump(warnings=False)
    for name, field in section.model_fields.items():
        if name in left_out:
            continue
        takes, default = words_of(field.annotation, field.metadata), "required"
        if section_of(field.annotation) is field.annotation and takes.startswith("a mapping"):
            takes, default = "a mapping, see below", default if field.is_required() else ""
        elif not field.is_required():
            default = write_inline(defaults[name])
        cells = (f"`{name}`", takes, default, field.description)
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(reference(), end="")
