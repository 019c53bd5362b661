"""Language models: windows of a text, what a model may see of them, a run from the command to a text."""

import math
import random
import shutil

import numpy
import pytest
import torch
from torch import nn

import predict
from commands.generating import in_whole_characters
from data_loader.texts.symbols import Tokens, read_symbols
from data_loader.texts.windows import IGNORED, TextWindows
from model.gpt import GPT
from model.lstm import LanguageLSTM
from model.metric import log_loss
from tests.running import assert_same_end, evaluate, resume, rows, state_of, train
from utils.errors import UserError

ALPHABET = "abcdefghijklmnopqrstuvwxyz\n"
CONFIG = """\
name: alphabet
device: cpu
dataset: {{type: TextWindows, args: {{path: {path}, context_length: 16, stride: 5, test_fraction: 0.1}}}}
data_loader: {{batch_size: 16, num_workers: 0}}
model: {{type: GPT, args: {{layers: 1, heads: 2, width: 32, dropout: 0.1}}}}
loss: CrossEntropyLoss
metrics: [{{type: log_loss, name: bits_per_token, args: {{in_bits: true}}}}, accuracy]
optimizer: {{type: AdamW, args: {{lr: 1e-2}}, no_decay: true}}
trainer: {{max_steps: 60, eval_every: 30 steps, tensorboard: false, monitor: min val_loss}}
"""


def text_of(tmp_path, text, name="text.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def predicted_tokens(dataset):
    """What the windows of a part predict, one after the other."""
    targets = dataset.__getitems__(torch.arange(len(dataset)))[1].flatten()
    return targets[targets != IGNORED].tolist()


@pytest.mark.parametrize("text", [ALPHABET * 7, "Ελένη, 한국어 и 🙂.\n" * 12], ids=["ascii", "unicode"])
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_each_token_but_the_first_is_predicted_once(text, tokens, tmp_path):
    path = text_of(tmp_path, text)
    train_part = TextWindows("train", path, 8, tokens, valid_fraction=0.25, test_fraction=0.2)
    parts = [
        TextWindows(
            split, path, 8, tokens, valid_fraction=0.25, test_fraction=0.2, preprocessing=train_part.preprocessing
        )
        for split in ("valid", "test")
    ]
    symbols = text if tokens == "characters" else text.encode()
    lengths = [len(predicted_tokens(part)) + 1 for part in parts]
    assert abs(lengths[1] - 0.2 * len(symbols)) <= 1 and abs(lengths[0] - 0.2 * len(symbols)) <= 1
    both = symbols[-sum(lengths) :]
    for part, its in zip(parts, (both[: lengths[0]], both[lengths[0] :]), strict=True):
        shown = part.decode(predicted_tokens(part), part.preprocessing)
        assert shown == (its[1:] if tokens == "characters" else its[1:].decode(errors="replace"))
        assert part.encode(shown, part.preprocessing) == predicted_tokens(part) or tokens == "bytes"


def test_windows_of_training_begin_every_stride_and_are_full(tmp_path):
    path = text_of(tmp_path, ALPHABET * 4)
    for stride in (1, 3, 8, 50):
        dataset = TextWindows("train", path, 8, stride=stride, valid_fraction=0.0)
        inputs, targets = dataset.__getitems__(torch.arange(len(dataset)))
        assert len(dataset) == len(range(0, 108 - 8, stride)) and not (targets == IGNORED).any()
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        starts = ["\ufffd\nabcdefghijklmnopqrstuvwxyz"[token] for token in inputs[:, 0].tolist()]
        assert starts == [(ALPHABET * 4)[place] for place in range(0, 108 - 8, stride)]
        assert torch.equal(dataset[1][1] if len(dataset) > 1 else targets[0], targets[min(1, len(dataset) - 1)])


def test_the_vocabulary_is_of_the_training_part(tmp_path):
    path = text_of(tmp_path, "abc" * 36 + "xyz" * 4)
    train_part = TextWindows("train", path, 8)
    assert train_part.preprocessing == {"characters": "abc"} and train_part.vocab_size == 4
    valid_part = TextWindows("valid", path, 8, preprocessing=train_part.preprocessing)
    assert set(predicted_tokens(valid_part)) == {0}
    assert valid_part.notes[1] == "valid: 12 characters are none of the training part's, and one token for all"
    of_bytes = TextWindows("train", path, 8, "bytes")
    assert of_bytes.vocab_size == 256
    for tokens, other in (("bytes", train_part), ("characters", of_bytes)):
        with pytest.raises(UserError, match=f"tokens: found {tokens}, but the model was trained on others"):
            TextWindows("valid", path, 8, tokens, preprocessing=other.preprocessing)


def test_a_text_in_ascii_or_bytes_stays_in_its_file(tmp_path):
    assert isinstance(read_symbols(text_of(tmp_path, ALPHABET), "characters"), numpy.memmap)
    assert isinstance(read_symbols(text_of(tmp_path, "ä"), "bytes"), numpy.memmap)
    assert read_symbols(text_of(tmp_path, "\ufeffäö"), "characters").tolist() == [0xE4, 0xF6]
    assert read_symbols(text_of(tmp_path, "한"), "characters").dtype == numpy.uint16
    assert Tokens("ab").decode([1, 2, 0]) == "ab\ufffd"


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("", {}, "the file is empty"),
        ("abc", {}, "the train part of .* has 2 characters; with context_length=8 it needs 9"),
        (b"ok\nok\n\xff\xfe", {}, r"text.txt:3: no UTF-8 \(invalid start byte\); convert the file, or set"),
        (
            ALPHABET,
            {"valid_fraction": 0.1, "valid_path": "x"},
            "valid_path and valid_fraction both give the valid part",
        ),
        (ALPHABET, {"split": "test"}, "no test part: set dataset.args.test_path, or path and test_fraction"),
        (ALPHABET, {"split": "valid", "valid_fraction": 0.02}, "the valid part of .* has 1 characters; .* it needs 2"),
    ],
)
def test_a_text_that_cannot_be_used_is_told(text, args, message, tmp_path):
    with pytest.raises(UserError, match=message):
        TextWindows(**{"split": "train", "path": text_of(tmp_path, text), "context_length": 8, **args})


@pytest.mark.parametrize("model", [GPT, LanguageLSTM])
def test_a_model_sees_nothing_of_what_comes(model):
    torch.manual_seed(0)
    sizes = {"context_length": 12} if model is GPT else {"tied": True}
    net = model(vocab_size=9, width=16, layers=2, **sizes).eval()
    tokens = torch.randint(0, 9, (3, 12))
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 9
    before, after = net(tokens), net(changed)
    assert before.shape == (3, 9, 12)
    torch.testing.assert_close(before[:, :, :7], after[:, :, :7], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, :, 7:], after[:, :, 7:], atol=1e-4)
    torch.testing.assert_close(net(tokens[:, :5]), before[:, :, :5], rtol=0, atol=1e-6)


def test_gpt_is_that_of_the_paper():
    net = GPT(vocab_size=65, context_length=64, layers=4, heads=4, width=128)
    assert net.head.weight is net.tokens.weight
    # nanoGPT tells 0.80 million for these sizes, without the positions.
    assert sum(each.numel() for each in net.parameters()) - net.positions.weight.numel() == 795_904
    assert net.blocks[0].mlp.into_stream.weight.std().item() == pytest.approx(0.02 / math.sqrt(8), rel=0.02)
    biased = GPT(vocab_size=5, context_length=8, layers=1, heads=2, width=8, bias=True)
    assert isinstance(biased.blocks[0].norm.bias, nn.Parameter)
    with pytest.raises(UserError, match="9 tokens, but it was built for context_length=8"):
        biased(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(UserError, match="width=10 does not divide by heads=4"):
        GPT(vocab_size=5, context_length=8, width=10)


def test_log_loss_in_bits_is_over_the_tokens_that_count():
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 4, IGNORED], [IGNORED, IGNORED, 2]])
    sums, counts = log_loss(logits, targets, in_bits=True)
    assert counts.tolist() == [2, 1]
    expected = nn.functional.cross_entropy(logits, targets) / math.log(2)
    assert (sums.sum() / 3).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.fixture(scope="module")
def alphabet(tmp_path_factory):
    """A run on a text that says the alphabet again and again."""
    folder = tmp_path_factory.mktemp("alphabet")
    text_of(folder, ALPHABET * 120)
    return train(folder, config=CONFIG.format(path=folder / "text.txt"))


def generated(capsys, run, *arguments, code=0):
    capsys.readouterr()
    assert predict.main(["-r", str(run), *arguments]) == code
    return capsys.readouterr().out if code == 0 else capsys.readouterr().err


def test_a_model_learns_the_alphabet_and_goes_on_with_it(alphabet, capsys, tmp_path):
    scores = evaluate(alphabet)
    assert scores["bits_per_token"] == pytest.approx(scores["loss"] / math.log(2), rel=1e-6)
    assert scores["bits_per_token"] < 0.3 and scores["accuracy"] > 0.95  # log2(27) is 4.75
    assert state_of(alphabet)["config"]["model"]["args"].keys().isdisjoint({"vocab_size", "context_length"})
    assert generated(capsys, alphabet, "--prompt", "klm", "--length", "30", "--temperature", "0") == (
        "klmnopqrstuvwxyz\nabcdefghijklmnop\n"
    )
    hot = ("--prompt", "a", "--length", "40", "--temperature", "3")
    drawn = [generated(capsys, alphabet, *hot, "--seed", seed) for seed in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2] and all(len(text) == 42 for text in drawn)
    assert generated(capsys, alphabet, *hot, "--top-k", "1").startswith("abcdefg")
    assert generated(capsys, alphabet, *hot[:-1], "1e-40").startswith("abcdefg")
    assert generated(capsys, alphabet, *hot, "--seed", "1", "--out", str(tmp_path / "new/text.txt")) == ""
    assert (tmp_path / "new/text.txt").read_text() == drawn[0]


def test_bytes_are_written_in_whole_characters():
    def decode(tokens):
        return TextWindows.decode(tokens, {"characters": None})

    assert [*in_whole_characters("a€😀".encode(), decode)] == ["a", "", "", "€", "", "", "", "😀", ""]
    generator = random.Random(0)
    for _ in range(500):  # also what is no UTF-8, before, within and after characters
        parts = [generator.choice(["é".encode(), "😀".encode(), bytes([generator.randrange(256)])]) for _ in range(8)]
        tokens = [*b"".join(parts)]
        assert "".join(in_whole_characters(tokens, decode)) == decode(tokens)


def test_prompts_that_make_no_sense_are_told(alphabet, capsys):
    assert "the training text has no 'A', 'é'" in generated(capsys, alphabet, "--prompt", "Aéa", code=2)
    assert "found nothing" in generated(capsys, alphabet, "--prompt", "", code=2)
    assert "goes on with a text: python predict.py -r RUN --prompt TEXT" in generated(capsys, alphabet, "a.txt", code=2)
    told = generated(capsys, alphabet, "--prompt", "a", "dataset.args.stride=2", code=2)
    assert "dataset.args.stride: would change nothing" in told
    for arguments, message in (
        (["--prompt", "a", "--top", "2"], "--top: not together with --prompt"),
        (["--prompt", "a", "b.txt"], "inputs: not together with --prompt"),
        (["b.txt", "--top-k", "2"], "--top-k: needs --prompt"),
        (["--prompt", "a", "--temperature", "-1"], "expected a number of at least 0"),
        (["--prompt", "a", "--temperature", "1e999"], "expected a number of at least 0"),
        (["--prompt", "a", "--top-k", "1000000"], "expected a whole number from 1 to 999,999"),
        ([], "or a language model its --prompt"),
    ):
        with pytest.raises(SystemExit, match="2"):
            predict.main(["-r", str(alphabet), *arguments])
        assert message in capsys.readouterr().err


def test_prompts_are_for_language_models(tmp_path, capsys):
    run = train(tmp_path, "trainer.epochs=1")
    assert "this is no language model" in generated(capsys, run, "--prompt", "a", code=2)


def test_a_checkpoint_and_another_text_are_enough(alphabet, tmp_path):
    shutil.copy((alphabet / "checkpoints/best.pt").resolve(), tmp_path / "alphabet.pt")
    other = text_of(tmp_path, ALPHABET[5:] + ALPHABET * 3, "other.txt")
    scores = evaluate(tmp_path / "alphabet.pt", "dataset.args.path=null", "dataset.args.test_fraction=null",
                      f"dataset.args.test_path={other}")  # fmt: skip
    assert scores["num_samples"] == 7 and scores["accuracy"] > 0.9


def test_a_run_goes_on_with_the_same_bits(alphabet, tmp_path):
    config = CONFIG.format(path=alphabet.parents[2] / "text.txt")
    other = train(tmp_path, "trainer.max_steps=41", config=config)
    resume(other, "trainer.max_steps=60", "data_loader.num_workers=1")
    assert_same_end(alphabet, other)
    assert len(rows(other)) == len(rows(alphabet))


def test_a_validation_text_that_is_trained_on_is_told(alphabet, tmp_path, caplog):
    text = alphabet.parents[2] / "text.txt"
    config = CONFIG.format(path=text).replace("test_fraction: 0.1", f"valid_path: {text}")
    train(tmp_path, "--dry-run", config=config)
    assert "203 of 203 validation samples hold what samples of the training part hold" in caplog.text


def test_a_run_goes_on_with_its_own_text_alone(alphabet, tmp_path, capsys):
    text = text_of(tmp_path, ALPHABET * 60 + ALPHABET[::-1] * 60)
    resume(alphabet, "trainer.max_steps=70", f"dataset.args.path={text}", code=2)
    assert "samples" in capsys.readouterr().err
