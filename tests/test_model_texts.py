"""Models of texts: what is padded counts nowhere."""

import itertools

import pytest
import torch

from model.text_rnn import TextRNN
from model.text_transformer import TextTransformer
from utils.errors import UserError

RNNS = [
    {"cell": cell, "pooling": pooling, "num_layers": layers, **way}
    for (cell, layers), pooling, way in itertools.product(
        [("RNN", 1), ("GRU", 2), ("LSTM", 1)],
        ["mean", "last"],
        [{"bidirectional": True}, {"bidirectional": False}, {"bidirectional": False, "packed": False}],
    )
]
SIZES = {"vocab_size": 30, "out_features": 4}


def texts(*lengths):
    """A batch of random texts, padded with 0 to the longest."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 30, (len(lengths), max(lengths)), generator=generator)
    return tokens.masked_fill(torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None], 0)


def models():
    yield from (TextRNN(**SIZES, **args) for args in RNNS)
    yield from (TextTransformer(**SIZES, max_length=20, num_layers=layers) for layers in (0, 1, 2))


@pytest.mark.parametrize("model", [*models()], ids=lambda model: type(model).__name__)
def test_a_text_gives_the_same_alone_and_padded(model):
    model.eval()
    lengths = (1, 3, 17, 8)
    batch = texts(*lengths)
    alone = torch.cat([model(text[None, :length]) for text, length in zip(batch, lengths, strict=True)])
    assert alone.std(0).min() > 1e-4
    for padded in (batch, torch.nn.functional.pad(batch, (0, 3))):
        torch.testing.assert_close(model(padded), alone, atol=1e-6, rtol=0)
        with torch.no_grad():  # where torch may take other kernels
            torch.testing.assert_close(model(padded), alone, atol=1e-6, rtol=0)
    assert not model.embedding.weight[0].any()
    model.train()(batch).sum().backward()
    assert not model.embedding.weight.grad[0].any() and model.embedding.weight.grad[1:].any()


def test_the_order_of_the_tokens_counts():
    text = texts(9)
    for model in (TextRNN(**SIZES), TextTransformer(**SIZES, max_length=20)):
        assert not torch.allclose(model.eval()(text), model(text.flip(1)), atol=1e-4)


def test_packed_and_not_are_the_same():
    packed = TextRNN(**SIZES, bidirectional=False, num_layers=2).eval()
    other = TextRNN(**SIZES, bidirectional=False, num_layers=2, packed=False).eval()
    other.load_state_dict(packed.state_dict())
    batch = texts(2, 12, 7)
    torch.testing.assert_close(packed(batch), other(batch), atol=1e-6, rtol=0)
    with pytest.raises(UserError, match="packed: found false; on its way back, a bidirectional network begins"):
        TextRNN(**SIZES, packed=False)


def test_layers_of_a_transformer_begin_with_weights_of_their_own():
    first, second = TextTransformer(**SIZES, max_length=20, num_layers=2).layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
