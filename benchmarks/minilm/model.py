"""all-MiniLM-L6-v2: BERT with 6 layers of width 384, mean pooling; Wang et al., "MiniLM", 2020."""

from torch import Tensor, nn
from transformers import BertConfig, BertModel


class SentenceEncoder(nn.Module):
    """Token ids and mask, N×L int64, to embeddings N×384: the mean of the last states over the tokens of the mask."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        counted = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * counted).sum(1) / counted.sum(1)


def build() -> nn.Module:
    """As the model's config.json says, but without dropout: distillation is short."""
    return SentenceEncoder(
        BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            max_position_embeddings=512,
            type_vocab_size=2,
            layer_norm_eps=1e-12,
            hidden_act="gelu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
