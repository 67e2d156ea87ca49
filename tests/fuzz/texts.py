"""Cards, lists of splits and configurations: whole ones, and what strangers may write into them."""

CARD = """
name: tiny
images: images/{id}.png
labels: labels/{id}.png
classes: [dark, grey, bright]
splits:
  train: train.txt
  val: {glob: "images/**/*.png"}
  test: {ids: ["a", "b"]}
  all: [train]
label_map: {0: dark, 1: grey, 2: bright, 3: 255}
ignore_ids: [9]
colors: [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
description: made for a test
"""
LIST = "# ids\na\nb\n"
CONFIG = """
MODEL:
  TIMM: {NAME: resnet18, ARGS: {embed_dim: 32}}
  SEM_SEG_HEAD: {NUM_CLASSES: 3, CLASS_WEIGHTS: [1.0, 2.0, 0.5]}
DATASETS:
  TRAIN: ("tiny_train",)
  CARDS: ["tiny.yaml"]
INPUT: {IMAGE_SIZE: [48, 96]}
SOLVER:
  BASE_LR: 1.0e-3
  STEPS: (1, 2)
VERSION: 2
"""

LEVELS = "".join(f"  - &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 12))
LAUGHS = f"  - &l0 [ha, ha, ha]\n{LEVELS}"
MAPS = "".join(f"  m{n}: &m{n} {{{', '.join(f'k{i}: *m{n - 1}' for i in range(10))}}}\n" for n in range(1, 12))
MERGED = "".join(f"  m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
TOUCH = "!!python/object/apply:pathlib.Path.touch [touched]"

# Values that may stand behind any key.
VALUES = (
    TOUCH,
    "!!python/name:os.system",
    "!!python/object/new:subprocess.Popen [[touch, touched]]",
    "!!python/module:antigravity",
    "!!binary 'not base64'",
    "!!int ''",
    "!!int x",
    "!!float x",
    "!!bool x",
    "!!timestamp x",
    "!!map x",
    "!!map [a]",
    "!!map [[a, b]]",
    "!!seq x",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs x",
    "!strange x",
    "2001-99-99",
    "2001-01-01",
    "1e999",
    ".nan",
    "-0",
    "9" * 5000,
    "0x" + "f" * 6000,
    "1" + ":1" * 2000,
    "0b" + "1" * 30000,
    "&a [*a]",
    "&a {b: *a}",
    "*absent",
    "&x &y z",
    "[" * 600,
    "[" * 300 + "]" * 300,
    "{a: " * 400,
    "- " * 400,
    "? [a, b]\n: c",
    "{[a, b]: c}",
    "{{a: b}: c}",
    "~",
    "''",
    "true",
    "-5",
    "1.5",
    "[]",
    "{}",
    "[[[1]]]",
    '"\\ud800"',
    '"a\\0b"',
    '"line\\nbreak"',
    '"\\e[31mred"',
    "/etc/passwd",
    "../../{id}.png",
    "~root/{id}.png",
    "/{id}",
    "'{id}{id}{id}'",
    "'" + "x" * 70_000 + "'",
    "((((" * 2000,
    "'" + "(" * 3000 + "'",
    "'" + "-" * 100_000 + "1'",
    "'" + "[" * 5000 + "'",
    "{glob: '**/**/**/**/**/**/**/**/**/*'}",
    "{glob: '../**'}",
    "{glob: '[!'}",
    "{ids: ['../../x', '/etc/passwd', '..', '.']}",
    "{ids: [a, a]}",
    "[all]",
)

# Whole documents.
DOCUMENTS = {
    "empty": "",
    "comment": "# nothing\n",
    "words": "just words",
    "list": "- 1\n- 2\n",
    "two": "a: 1\n---\nb: 2\n",
    "nul": "name: \0",
    "tab": "a:\n\t- b",
    "directive": "%YAML 9.9\n---\na: 1",
    "tagged": f"--- {TOUCH}",
    "laughs": f"classes:\n{LAUGHS}",
    "laughs_config": f"MODEL:\n  PIXEL_MEAN:\n{LAUGHS.replace('  -', '  -')}",
    "maps": f"MODEL:\n  m0: &m0 {{a: b}}\n{MAPS}",
    "merged": f"MODEL:\n  m0: &m0 {{a: 1, b: 2}}\n{MERGED}",
    "wide": "classes: [" + "a, " * 2_000 + "a]",
    "many_keys": "label_map:\n" + "".join(f"  {i}: 0\n" for i in range(1_500)),
    "many_ids": "splits: {train: {ids: [" + ", ".join(f"i{i}" for i in range(2_000)) + "]}}",
    "base_of_itself": "_BASE_: base_of_itself.yaml\n",
    "base_of_number": "_BASE_: 5\n",
    "base_of_lists": "_BASE_: [[[]]]\n",
    "base_of_map": "_BASE_: {a: b}\n",
    "base_of_device": "_BASE_: /dev/zero\n",
    "base_of_folder": "_BASE_: .\n",
    "base_of_network": "_BASE_: http://127.0.0.1:9/a.yaml\n",
    "base_of_words": "_BASE_: base.txt\nSEED: 1\n",
    "base_many": "_BASE_: [base_1.yaml, base_1.yaml, base_1.yaml, base_1.yaml]\n",
    "version_text": "VERSION: x\n",
    "version_low": "VERSION: -1000000000\nMODEL: {}\n",
    "version_old": "VERSION: 1\nMODEL: {WEIGHT: a}\n",
    "pickle_allowed": "MODEL: {ALLOW_PICKLE: true}\n",
}
# What some of the documents are based on: each file takes the next one four times.
BASES = {f"base_{n}.yaml": f"_BASE_: {[f'base_{n + 1}.yaml'] * 4}\n" for n in range(1, 14)} | {
    "base_14.yaml": "SEED: 1\n",
    "base.txt": "just words",
}


def with_value(text: str, key: str, value: str) -> str:
    """A document with another value behind one of its keys."""
    lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def keys(text: str) -> list[str]:
    return [line.split(":")[0] for line in text.splitlines() if line and not line[0].isspace()]
