"""YAML and overrides -> typed options; every mistake is one line that names the file, the place and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from fusion import config
from fusion.options import TestOptions as Options  # pytest would collect a class called Test...

PLAIN = """
out: results/x
models:
  - {name: average}
  - {name: ship, weights: models/s.pth, options: {channels: 8}, label: small}
datasets:
  - {name: A, root: a}
  - {name: B, root: b, ir: PET, vis: MRI, task: medical}
"""


@pytest.fixture
def load(tmp_path):
    def load(text: str, *overrides: str) -> Options:
        path = tmp_path / "x.yml"
        path.write_text(text, encoding="utf-8")
        return config.load(path, list(overrides), Options)

    return load


@pytest.fixture
def refusal(load, tmp_path):
    """The message, without the file's name, of a config that is refused."""

    def refusal(text: str, *overrides: str) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the message is what this returns
            load(text, *overrides)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"{tmp_path / 'x.yml'}: ") or message.startswith("'")
        return message.removeprefix(f"{tmp_path / 'x.yml'}: ")

    return refusal


# --- reading --------------------------------------------------------------------------------------------------------


def test_defaults(load):
    options = load(PLAIN)
    assert options.out == Path("results/x")
    assert options.output == "colour"
    assert options.device == "auto"
    assert options.metrics.profile == "cddfuse"
    assert options.metrics.names is None
    assert [m.row for m in options.models] == ["average", "small"]
    assert options.models[1].options == {"channels": 8}
    assert options.models[1].weights == Path("models/s.pth")
    first, second = options.datasets
    assert (first.ir, first.vis, first.task) == ("ir", "vi", "infrared-visible")
    assert (second.ir, second.vis, second.task) == ("PET", "MRI", "medical")


def test_options_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load(PLAIN).out = Path("elsewhere")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").glob("*.yml")), ids=lambda p: p.name)
def test_configs_of_the_project_are_yaml_without_mistakes(path):
    data = config.read_yaml(path)
    if "models" in data:
        config.check(data, Options, path)


class Rates(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: float
    any: object = None


def test_scientific_notation_is_a_number_everywhere(tmp_path):
    path = tmp_path / "r.yml"
    path.write_text("rate: 1e-4\nany: [1e-4, 2E5, -1.5e-3, .5e1, 1.e3, +1e2, '1e-4', 1e, e5, 10, v1e5]")
    read = config.load(path, [], Rates)
    assert read.rate == 1e-4
    assert read.any == [1e-4, 2e5, -1.5e-3, 5.0, 1e3, 100.0, "1e-4", "1e", "e5", 10, "v1e5"]
    assert config.load(path, ["rate='3e-5'"], Rates).rate == 3e-5
    assert config.load(path, ["any.0=3e-5"], Rates).any[0] == 3e-5


def test_aliases_and_merges_are_plain_yaml(tmp_path):
    path = tmp_path / "m.yml"
    path.write_text(
        "first: &first {a: 1, b: 2}\n"
        "second: {inner: &second {<<: *first, b: 3}}\n"
        "third: {inner: {<<: *second, c: 4}}\n"
        "fourth: *first\n"
    )
    data = config.read_yaml(path)
    assert data["second"]["inner"] == {"a": 1, "b": 3}
    assert data["third"]["inner"] == {"a": 1, "b": 3, "c": 4}
    assert data["fourth"] == {"a": 1, "b": 2}


# --- mistakes in the file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected `key: value` lines, found nothing"),
        ("# only a comment", "expected `key: value` lines, found nothing"),
        ("- a\n- b", "expected `key: value` lines, found a list"),
        ("hello", "expected `key: value` lines, found a str"),
        ("out: a\n\tmodels: b", "line 2, column 1: a tab cannot indent YAML; use spaces"),
        ("out:\n  - a\n \t- b", "line 3, column 2: a tab cannot indent YAML; use spaces"),
        (
            "out: !!python/object/apply:os.system ['echo']",
            "line 1, column 6: the tag '!!python/object/apply:os.system' is refused: "
            "only plain values are read, no code is run",
        ),
        ("out: !thing x", "line 1, column 6: the tag '!thing' is refused: only plain values are read, no code is run"),
        ("out: a\nout: b", "line 2, column 1: the key 'out' is given twice"),
        (f"{PLAIN}\nmetrics: {{profile: a, profile: b}}", "line 10, column 23: the key 'profile' is given twice"),
        ("out: [a", "line 1, column 8: expected ',' or ']', but got '<stream end>'"),
        ("out: a: b", "line 1, column 7: mapping values are not allowed here"),
        ("out: *nowhere", "line 1, column 6: found undefined alias 'nowhere'"),
        ("out: a\0b", "not YAML: unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_bad_yaml(refusal, text, expected):
    assert refusal(text) == expected


def test_a_python_tag_is_not_run(load, tmp_path):
    witness = tmp_path / "run"
    with pytest.raises(ValueError, match="refused"):
        load(f"out: !!python/object/apply:os.mkdir ['{witness}']")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("out:", "uot:", "unknown key 'uot'. Did you mean 'out'? (and 1 more)"),  # not: 'out' is missing
        ("models:", "modles:", "unknown key 'modles'. Did you mean 'models'? (and 1 more)"),
        ("weights:", "wieghts:", "models[1]: unknown key 'wieghts'. Did you mean 'weights'?"),
        ("{name: average}", "{name: average, lable: x}", "models[0]: unknown key 'lable'. Did you mean 'label'?"),
        ("task:", "taks:", "datasets[1]: unknown key 'taks'. Did you mean 'task'?"),
        (
            "root: a}",
            "root: a, zzz: 1}",
            "datasets[0]: unknown key 'zzz'. Known: ir, match, name, range, root, task, vis.",
        ),
        ("out: results/x\n", "", "the key 'out' is missing"),
        ("name: A, ", "", "datasets[0]: the key 'name' is missing"),
        (
            "task: medical",
            "task: Medical",
            "datasets[1].task: input should be 'infrared-visible' or 'medical', got 'Medical'",
        ),
        ("options: {channels: 8}", "options: 3", "models[1].options: input should be a valid dictionary, got 3"),
        ("label: small", "label: 3", "models[1].label: input should be a valid string, got 3"),
        ("label: small", "label: average", "two entries called 'average' (model on A): give one a label"),
        ("label: small", "label: Average", "two entries called 'average' (model on A): give one a label"),
        ("name: B", "name: a", "two entries called 'A' (data set): give one another name"),
        ("label: small", "datasets: [C]", "model 'ship' asks for data set 'C'; there are: A, B"),
        ("label: small", "datasets: []", "models[1].datasets: list should have at least 1 item"),
        ("label: small", "optional: maybe", "models[1].optional: input should be a valid boolean"),
        ("out: results/x", "out: results/x\nmetrics: {names: []}", "metrics.names: list should have at least 1 item"),
        ("out: results/x", "out: results/x\noutput: color", "output: input should be 'gray' or 'colour', got 'color'"),
        ("out: results/x", "out: results/x\n1: 2", "[1]: keys should be strings"),
    ],
)
def test_bad_values(refusal, old, new, expected):
    assert PLAIN.count(old) >= 1
    assert refusal(PLAIN.replace(old, new, 1)).startswith(expected)


@pytest.mark.parametrize("value", ["3", "{name: average}", "[average]", "[]", "null"])
def test_models_that_are_no_list_of_mappings(refusal, value):
    assert refusal(f"out: x\nmodels: {value}\ndatasets: [{{name: A, root: a}}]").startswith("models")


def test_a_long_wrong_value_is_shortened(refusal):
    assert len(refusal(PLAIN.replace("options: {channels: 8}", f"options: {'x' * 5000}"))) < 200


@pytest.mark.parametrize("label", ["a/b", "..", ".", "", "a\\\\b", "<b>", "a:b", ".hidden", "a\\nb", "a*"])
def test_a_label_names_a_folder(refusal, label):
    assert "names a folder of the results" in refusal(PLAIN.replace("label: small", f'label: "{label}"'))
    assert "names a folder of the results" in refusal(PLAIN.replace("name: B", f'name: "{label}"'))


@pytest.mark.parametrize("label", ["R&D", "ours (2)", "été", "a.b", "a b", "x'y"])
def test_other_labels_do(load, label):
    assert load(PLAIN.replace("label: small", f'label: "{label}"')).models[1].row == label


def test_one_row_may_mean_different_models_on_different_data(load):
    text = PLAIN.replace("{name: average}", "{name: ship, label: small, datasets: [A]}")
    options = load(text.replace("label: small}", "label: small, datasets: [B]}"))
    assert [m.row for m in options.models] == ["small", "small"]


# --- mistakes around the file ---------------------------------------------------------------------------------------


def test_a_missing_file_names_where_it_looked_and_what_is_there(tmp_path):
    (tmp_path / "other.yml").write_text("a: 1")
    with pytest.raises(FileNotFoundError) as caught:
        config.read_yaml(tmp_path / "x.yml")
    expected = f"{tmp_path / 'x.yml'} is not there (looked in {tmp_path}); there are: {tmp_path / 'other.yml'}"
    assert str(caught.value) == expected


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.yml").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(ValueError, match=r"x.yml is not a text file: expected YAML in UTF-8$"):
        config.read_yaml(tmp_path / "x.yml")


def test_a_folder(tmp_path):
    with pytest.raises(OSError, match="directory"):
        config.read_yaml(tmp_path)


# --- overrides ------------------------------------------------------------------------------------------------------


def test_overrides(load):
    options = load(
        PLAIN,
        "out=elsewhere",
        "models.1.label=tiny",
        "models.1.options.channels=4",
        "models.0.options.new.deep=[1, {a: b}]",
        "datasets.0={name: C, root: c}",
        "metrics.names=[EN, SD]",
        "models.1.weights=null",
        "output=gray",
        "device=cuda:1",
    )
    assert options.out == Path("elsewhere")
    assert options.models[1].row == "tiny"
    assert options.models[1].options == {"channels": 4}
    assert options.models[1].weights is None
    assert options.models[0].options == {"new": {"deep": [1, {"a": "b"}]}}
    assert options.datasets[0].name == "C"
    assert options.metrics.names == ["EN", "SD"]
    assert (options.output, options.device) == ("gray", "cuda:1")


def test_a_value_may_hold_equals_signs_and_the_last_override_wins(load):
    assert load(PLAIN, "out=a", "out=b=c").out == Path("b=c")


def test_an_override_of_one_alias_leaves_the_other(load):
    text = PLAIN.replace("{name: average}", "{name: average, options: &o {a: 1}}").replace("{channels: 8}", "*o")
    options = load(text, "models.0.options.a=2")
    assert [m.options for m in options.models] == [{"a": 2}, {"a": 1}]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("nothing", "'nothing' is no override: expected key.key=value"),
        ("=3", "'=3' is no override: expected key.key=value"),
        ("models.2.label=x", "'models.2.label=x': '2' is no place in a list of 2; places count from 0"),
        ("models.-1.label=x", "'models.-1.label=x': '-1' is no place in a list of 2; places count from 0"),
        ("models.².label=x", "'models.².label=x': '²' is no place in a list of 2; places count from 0"),
        ("models.first=x", "'models.first=x': 'first' is no place in a list of 2; places count from 0"),
        ("out.deeper=x", "'out.deeper=x': 'deeper' is below a plain value, 'results/x'; there is nothing to set"),
        ("out=[1", "'out=[1': the value is not YAML: line 1, column 3: expected ',' or ']', but got '<stream end>'"),
        (
            "out=!!python/name:os.system",
            "'out=!!python/name:os.system': the value is not YAML: line 1, column 1: "
            "the tag '!!python/name:os.system' is refused: only plain values are read, no code is run",
        ),
        ("metrics.profil=x", "metrics: unknown key 'profil'. Did you mean 'profile'?"),
        ("models.0.lable=x", "models[0]: unknown key 'lable'. Did you mean 'label'?"),
        ("modells=x", "unknown key 'modells'. Did you mean 'models'?"),
        ("models=x", "models: input should be a valid list, got 'x'"),
        ("out=", "out: input is not a valid path"),
    ],
)
def test_bad_overrides(refusal, override, expected):
    assert refusal(PLAIN, override).startswith(expected)
