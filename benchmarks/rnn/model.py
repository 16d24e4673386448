"""Two recurrent classifiers that read a digit row by row."""

from torch import Tensor, nn


class Reader(nn.Module):
    """Sequences N×8×8, a step for each row, to the logits of ten classes, from the last state."""

    def __init__(self, layer: type[nn.RNNBase], hidden: int) -> None:
        super().__init__()
        self.rnn = layer(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.rnn(rows)[0][:, -1])


def gru(hidden: int = 128) -> nn.Module:
    return Reader(nn.GRU, hidden)


def lstm(hidden: int = 128) -> nn.Module:
    return Reader(nn.LSTM, hidden)
