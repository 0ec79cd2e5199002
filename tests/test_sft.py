"""Fine-tuning data: what is learned is the answer and its end, nothing else; packing changes no loss."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from llemma.errors import ConfigError, DataError
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.sources import generated
from llemma.tokens.sentencepiece import load_model
from llemma.tokens.tokenizer import HuggingFaceTokenizer, Tokenizer, load_tokenizer, train_tokenizer
from llemma.train.chat import Chat, load_chat
from llemma.train.sft import Examples, first_fit_decreasing
from llemma.train.sft_config import SftConfig
from llemma.train.sft_text import WITH_INPUT, WITHOUT_INPUT, Encoder, Piece, pieces_of

WORKED = list(generated.draw("addition", split="train", seed=0, count=120))
TEXTS = [generated.render(w) for w in WORKED]
CONTEXT = 160


def row_of(worked: generated.Worked) -> dict[str, str]:
    prompt = generated.prompt(worked)
    return {"prompt": prompt, "response": generated.render(worked).removeprefix(prompt)}


ROWS = [row_of(w) for w in WORKED]


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bpe() -> HuggingFaceTokenizer:
    return train_tokenizer(TEXTS, 400)


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A SentencePiece model that, like Llama's, puts a space before every text and has a begin mark."""
    folder = tmp_path_factory.mktemp("sp")
    (folder / "text.txt").write_text("\n".join(" ".join(text.split()) for text in TEXTS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "m"), vocab_size=400, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    loaded = load_model(folder / "m.model")
    assert loaded.encode_prompt("")  # it has a begin mark
    return loaded


def made(rows: Sequence[Any], tokenizer: Tokenizer, folder: Path, **settings: Any) -> Examples:
    own = {k: settings.pop(k) for k in ("masks_documents", "batch_size", "seed", "context") if k in settings}
    config = SftConfig(files=(write(folder / "some.jsonl", rows),), **settings)
    return Examples(config, tokenizer, **{"context": CONTEXT, "batch_size": 4, "seed": 0, **own})


def tiny(tokenizer: Tokenizer, seed: int = 1) -> Llama:
    model = Llama(
        LlamaConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=False,
        )
    )
    initialise(model, seed)
    return model


# What is learned


def halves(tokenizer: Tokenizer, prompt: str, response: str) -> tuple[list[int], list[int]]:
    pieces = [Piece(prompt), Piece(response, answer=True, last=True)]
    ids, learned = Encoder(tokenizer).encode([pieces])[0]
    border = int(np.argmax(learned))
    assert learned[border:].all() and not learned[:border].any()
    return ids[:border].tolist(), ids[border:].tolist()


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\u2581\r"), min_size=1, max_size=30)


@given(prompt=TEXT, response=TEXT)
@examples_of(max_examples=150, deadline=None)
def test_the_border_lies_where_the_prompt_ends(bpe, unigram, prompt, response):
    for tokenizer in (bpe, unigram):
        given_ids, learned = halves(tokenizer, prompt, response)
        assert given_ids == tokenizer.encode_prompt(prompt)  # what a model is asked with later
        assert learned[-1] == tokenizer.end_id
    assert bpe.decode(learned_of(bpe, prompt, response)) == response


def learned_of(tokenizer: Tokenizer, prompt: str, response: str) -> list[int]:
    return halves(tokenizer, prompt, response)[1][:-1]


@given(prompt=TEXT, response=TEXT)
@examples_of(max_examples=100, deadline=None)
def test_an_answer_is_a_continuation_for_sentencepiece(unigram, prompt, response):
    """No space that the text does not have: prompt and answer decode to the text."""
    if response.startswith("\n"):
        return  # the carrier may merge with it
    given_ids, learned = halves(unigram, prompt, response)
    assert unigram.decode([*given_ids, *learned[:-1]]) == prompt + response


def test_the_carrier_is_needed_for_that(unigram):
    assert unigram.encode("Answer") != learned_of(unigram, "Q:", "Answer")
    assert unigram.decode([*unigram.encode_prompt("Q:"), *unigram.encode("Answer")]) == "Q: Answer"


def test_a_tokeniser_that_merges_across_the_border_is_cut_there():
    inner = tokenizers.Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3}, merges=[("a", "b")]))
    inner.add_special_tokens(["<|endoftext|>"])
    tokenizer = HuggingFaceTokenizer(inner)
    assert tokenizer.encode("aab") == [1, 3]
    assert halves(tokenizer, "aa", "bab") == ([1, 1], [2, 3, 0])


def test_a_text_that_spells_an_end_mark_does_not_end_anything(bpe):
    given_ids, learned = halves(bpe, "say <|endoftext|>", "<|endoftext|> said")
    assert (given_ids + learned).count(bpe.end_id) == 1 and learned[-1] == bpe.end_id


def test_a_tokeniser_without_an_end_mark_is_refused():
    inner = tokenizers.Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    with pytest.raises(ConfigError, match="no end mark"):
        Encoder(HuggingFaceTokenizer(inner))


def test_the_loss_is_the_mean_over_the_answers_and_prompt_targets_do_not_matter(bpe, tmp_path):
    model, batch = tiny(bpe), made(ROWS, bpe, tmp_path, packing=False).batch(0)
    ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
    loss = model.loss(ids, mask)
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}

    targets = ids[:, 1:].clone()
    targets[~mask] = torch.randint(bpe.vocab_size, (int((~mask).sum()),), generator=torch.Generator().manual_seed(3))
    model.zero_grad()
    each = F.cross_entropy(model(ids[:, :-1]).float().flatten(0, 1), targets.flatten(), reduction="none")
    by_hand = each.view_as(targets)[mask].sum() / mask.sum()
    by_hand.backward()
    assert abs(loss.item() - by_hand.item()) < 1e-6
    for name, p in model.named_parameters():
        torch.testing.assert_close(found[name], p.grad, atol=1e-6, rtol=1e-5)
    whole = model.loss(ids)
    assert abs(whole.item() - loss.item()) > 1e-3  # the mask is not idle


def test_answers_and_their_ends_are_all_that_counts(bpe, tmp_path):
    source = made(ROWS[:8], bpe, tmp_path, packing=False, batch_size=8)
    batch = source.batch(0)
    said = sorted(bpe.decode(row[1:][mask].tolist()) for row, mask in zip(batch.ids, batch.mask, strict=True))
    assert said == sorted(row["response"] for row in ROWS[:8])
    ends = [row[1:][mask][-1] for row, mask in zip(batch.ids, batch.mask, strict=True)]
    assert ends == [bpe.end_id] * 8
    assert batch.documents is None
    assert source.counts.learned == batch.targets == int(batch.mask.sum())


def test_padding_changes_no_loss(bpe, tmp_path):
    model, batch = tiny(bpe), made(ROWS, bpe, tmp_path, packing=False).batch(0)
    other = batch.ids.copy()
    for row, mask in zip(other, batch.mask, strict=True):
        row[2 + int(np.flatnonzero(mask)[-1]) :] = 7
    assert (other != batch.ids).any()
    with torch.no_grad():
        losses = [model.loss(torch.from_numpy(ids), torch.from_numpy(batch.mask)) for ids in (batch.ids, other)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-7)


# Packing


def test_packing_changes_no_loss(bpe, tmp_path):
    model = tiny(bpe)
    packed = made(ROWS[:40], bpe, tmp_path, batch_size=1)
    alone = made(ROWS[:40], bpe, tmp_path, packing=False, batch_size=1)
    assert len(packed) < 0.7 * len(alone) and packed.counts.filled > 0.8
    sums = []
    with torch.no_grad():
        for source in (packed, alone):
            total, count = 0.0, 0
            for step in range(len(source)):
                b = source.batch(step)
                documents = None if b.documents is None else torch.from_numpy(b.documents)
                loss, n = model.loss_sum(torch.from_numpy(b.ids), torch.from_numpy(b.mask), documents)
                total, count = total + loss.item(), count + n
            sums.append((total / count, count))
    assert sums[0][1] == sums[1][1] == packed.counts.learned
    assert sums[0][0] == pytest.approx(sums[1][0], abs=1e-5)


def test_without_documents_packing_would_change_the_loss(bpe, tmp_path):
    model, batch = tiny(bpe), made(ROWS, bpe, tmp_path).batch(0)
    ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
    with torch.no_grad():
        masked, stream = model.loss(ids, mask, torch.from_numpy(batch.documents)), model.loss(ids, mask)
    assert abs(masked.item() - stream.item()) > 1e-3


def test_packing_is_refused_where_the_model_cannot_keep_examples_apart(bpe, tmp_path):
    with pytest.raises(ConfigError, match=r"sft\.packing=false"):
        made(ROWS, bpe, tmp_path, masks_documents=False)
    assert len(made(ROWS, bpe, tmp_path, masks_documents=False, packing=False)) == len(ROWS)


def naive(lengths: Sequence[int], room: int) -> list[int]:
    bins: list[int] = []
    out = [0] * len(lengths)
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        b = next((b for b, left in enumerate(bins) if left >= lengths[i]), len(bins))
        if b == len(bins):
            bins.append(room)
        bins[b] -= lengths[i]
        out[i] = b
    return out


@given(st.integers(1, 40).flatmap(lambda room: st.tuples(st.just(room), st.lists(st.integers(1, room), max_size=60))))
@examples_of(max_examples=300, deadline=None)
def test_items_are_packed_first_fit_decreasing(case):
    room, lengths = case
    assert first_fit_decreasing(np.array(lengths, dtype=np.int64), room).tolist() == naive(lengths, room)


# Drawing


def test_an_epoch_reads_every_row_once_and_the_next_in_another_order(bpe, tmp_path):
    source = made(ROWS[:40], bpe, tmp_path, packing=False, batch_size=4)
    assert len(source) == 40 and source.steps(3) == 30 and source.epochs(30) == {"some": 3.0}
    epochs = [[tuple(row) for step in range(e * 10, e * 10 + 10) for row in source.batch(step).ids] for e in range(3)]
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(epochs[2])
    assert max(Counter(epochs[0]).values()) == 1
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_depends_on_the_step_alone(bpe, tmp_path):
    one, two = (made(ROWS, bpe, tmp_path, batch_size=8) for _ in range(2))
    two.batch(99)
    for step in (0, 5, 31):
        whole, again = one.batch(step), two.batch(step)
        parts = [two.batch(step, rank, 4) for rank in range(4)]
        for name in ("ids", "mask", "documents"):
            assert (getattr(whole, name) == getattr(again, name)).all()
            assert (np.concatenate([getattr(part, name) for part in parts]) == getattr(whole, name)).all()
    other = made(ROWS, bpe, tmp_path, batch_size=8, seed=1)
    assert (other.batch(0).ids != one.batch(0).ids).any()
    with pytest.raises(ConfigError, match="multiple of 3"):
        one.batch(0, 0, 3)


def test_held_out_examples_are_in_no_batch_and_copies_go_with_them(bpe, tmp_path):
    source = made([*ROWS, *ROWS], bpe, tmp_path, packing=False, valid_share=0.2, batch_size=1)
    held = {tuple(row) for row in source.validation(1000)["some"].ids}
    assert len(held) > 5 and source.counts.held_out == 2 * len(held)
    assert not held & {tuple(source.batch(step).ids[0]) for step in range(len(source))}
    assert len(source.validation(3)["some"].ids) == 3
    assert made(ROWS, bpe, tmp_path, packing=False).validation(8) == {}


def test_other_files_and_settings_have_another_fingerprint(bpe, tmp_path):
    marks = [
        made(ROWS, bpe, tmp_path).fingerprint(),
        made(ROWS[:-1], bpe, tmp_path).fingerprint(),
        made(ROWS, bpe, tmp_path, too_long="cut").fingerprint(),
    ]
    assert len(set(marks)) == 3 and made(ROWS, bpe, tmp_path).fingerprint() == marks[0]


# Rows that cannot be used


def test_unusable_rows_are_counted_and_named_and_the_others_are_used(bpe, tmp_path):
    long = {"prompt": "x", "response": "9 " * 400}
    bad = [
        '{"prompt": "torn', "[1]", {"text": "nothing asked"}, {"prompt": "x", "response": 3},
        {"prompt": "x", "response": " "},
        {"question": " ", "answer": "y"}, {"question": "x", "answer": ""}, {"messages": "hello"},
        {"messages": [{"role": "user", "content": "x"}]}, {"messages": [{"role": "assistant", "content": "x"}]}, long,
    ]  # fmt: skip
    source = made([*ROWS[:5], *bad], bpe, tmp_path)
    counts = source.counts
    assert (counts.rows, counts.used) == (16, 5)
    assert sum(counts.dropped.values()) == len(bad) == len(counts.examples)
    assert counts.dropped[f"longer than {CONTEXT + 1} tokens"] == 1
    assert counts.dropped["messages need a chat template"] == 1
    assert counts.examples[0] == (f"{tmp_path / 'some.jsonl'}:6", "not valid JSON")
    assert json.loads(json.dumps(counts.to_json()))["dropped"]["not valid JSON"] == 1


def test_nothing_usable_is_an_error_that_says_why(bpe, tmp_path):
    with pytest.raises(DataError, match=r"no usable example: 2 × not valid JSON.*some\.jsonl:1"):
        made(["{", "{"], bpe, tmp_path)
    with pytest.raises(DataError, match="the files are empty"):
        made([], bpe, tmp_path)
    with pytest.raises(ConfigError, match="files is empty"):
        Examples(SftConfig(), bpe, context=32, batch_size=1, seed=0)
    with pytest.raises(DataError, match="no such file"):
        Examples(SftConfig(files=(tmp_path / "none.jsonl",)), bpe, context=32, batch_size=1, seed=0)
    write(tmp_path / "b.jsonl", ROWS)
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "b.jsonl", ROWS)
    with pytest.raises(ConfigError, match="two files are called b"):
        Examples(
            SftConfig(files=(tmp_path / "b.jsonl", tmp_path / "a" / "b.jsonl")), bpe, context=32, batch_size=1, seed=0
        )


def test_an_array_of_examples_is_the_same_as_lines(bpe, tmp_path):
    lines = made(ROWS, bpe, tmp_path)
    (tmp_path / "some.json").write_text(json.dumps(ROWS))
    config = SftConfig(files=(tmp_path / "some.json",))
    array = Examples(config, bpe, context=CONTEXT, batch_size=4, seed=0)
    assert (array.batch(3).ids == lines.batch(3).ids).all() and array.counts == lines.counts
    (tmp_path / "some.json").write_text("[{]")
    with pytest.raises(DataError, match=r"some\.json: not valid JSON"):
        Examples(config, bpe, context=CONTEXT, batch_size=4, seed=0)
    (tmp_path / "some.json").write_text("{}")
    with pytest.raises(DataError, match="expected a JSON array"):
        Examples(config, bpe, context=CONTEXT, batch_size=4, seed=0)


def test_long_examples_lose_the_end_of_their_answer_when_asked(bpe, tmp_path):
    rows = [{"prompt": "x:", "response": "9 " * 400}, {"prompt": "9 " * 400, "response": "y"}, ROWS[0]]
    source = made(rows, bpe, tmp_path, too_long="cut", length=50, packing=False, batch_size=2)
    assert source.counts.cut == 1 or len(bpe.encode(TEXTS[0])) > 49
    assert source.counts.dropped == {"the prompt leaves no room for an answer": 1}
    ids, learned = source.example(0)
    assert len(ids) == 50 and learned[-1] and bpe.end_id not in ids  # cut: it does not end


# Prompts


def ask(row: dict[str, Any], template: str = "auto") -> str:
    found = pieces_of(row, template, lambda: None)  # type: ignore[arg-type]
    assert isinstance(found, list), found
    return found[0].text


def test_questions_become_alpaca_prompts():
    assert ask({"question": "1+1?", "answer": "2"}) == WITHOUT_INPUT.replace("{instruction}", "1+1?")
    assert ask({"query": "a\nb", "response": "2"}) == WITHOUT_INPUT.replace("{instruction}", "a\nb")
    cut = ask({"query": "a\nb\nc", "response": "2"}, "metamath")  # as its train_math.py does
    assert cut == WITH_INPUT.replace("{instruction}", "a").replace("{input}", "b\nc")
    assert ask({"instruction": "a", "input": "", "output": "2"}) == ask({"question": "a", "answer": "2"})
    assert ask({"instruction": "{input}", "input": "b", "output": "2"}).count("{input}") == 1
    assert ask({"prompt": "as it is ", "completion": "2"}) == "as it is "


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BRACKETS = (  # of Llama 2's kind: the begin mark at every question, contents stripped, a space before the end
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
TALK = [
    {"role": "user", "content": " What is 2+2? "},
    {"role": "assistant", "content": "4\n"},
    {"role": "user", "content": "And <|im_end|> 3+3?"},
    {"role": "assistant", "content": "The sum is 6."},
]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with marks of chats and a template."""
    folder = tmp_path_factory.mktemp("chatty")
    inner = tokenizers.Tokenizer.from_str(train_tokenizer(TEXTS, 400).to_json())
    inner.add_special_tokens(["<|im_start|>", "<|im_end|>", "<s>", "</s>"])
    HuggingFaceTokenizer(inner, "</s>").save(folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "bos_token": {"content": "<s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": CHATML}))
    return folder


def twin(folder: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("template", [CHATML, BRACKETS], ids=["chatml", "brackets"])
def test_a_chat_has_the_ids_that_transformers_gives(chatty, template):
    talk = [dict(m, content=m["content"].replace("<|im_end|>", "then")) for m in TALK]
    tokenizer = load_tokenizer(chatty)
    pieces = Chat(template, {"bos_token": "<s>", "eos_token": "</s>"}, where="here").pieces(talk)
    ids, learned = Encoder(tokenizer).encode([pieces])[0]
    peer = twin(chatty).apply_chat_template(talk, chat_template=template, tokenize=True, return_dict=False)
    assert ids.tolist() == peer[: len(ids)]
    assert peer[len(ids) :] in ([], tokenizer.encode("\n"))  # behind the last end mark nothing is left to learn
    end = "<|im_end|>" if template is CHATML else "</s>"
    assert ids[-1] == tokenizer.specials[end] and learned[-1]
    wanted = ["4\n", "The sum is 6."] if template is CHATML else [" 4 ", " The sum is 6. "]
    assert runs(tokenizer, ids, learned) == wanted
    assert Counter(ids[learned].tolist())[tokenizer.specials[end]] == 2  # both turns end


def runs(tokenizer: Tokenizer, ids: np.ndarray, learned: np.ndarray) -> list[str]:
    cuts = np.flatnonzero(np.diff(learned)) + 1
    parts = zip(np.split(ids, cuts), np.split(learned, cuts), strict=True)
    return [tokenizer.decode(part.tolist()) for part, m in parts if m[0]]


def test_the_prompt_of_a_chat_is_the_generation_prompt(chatty):
    chat, tokenizer = load_chat(chatty), load_tokenizer(chatty)
    ids, learned = Encoder(tokenizer).encode([chat.pieces(TALK[:2])])[0]
    asked = twin(chatty).apply_chat_template(
        TALK[:1], chat_template=CHATML, add_generation_prompt=True, return_dict=False
    )
    assert ids[: int(np.argmax(learned))].tolist() == asked


def test_what_people_write_in_a_chat_is_never_a_mark(chatty):
    chat, tokenizer = load_chat(chatty), load_tokenizer(chatty)
    ids, _ = Encoder(tokenizer).encode([chat.pieces(TALK)])[0]
    assert Counter(ids.tolist())[tokenizer.specials["<|im_end|>"]] == 4  # one for each message
    assert "And <|im_end|> 3+3?" in tokenizer.decode(ids.tolist())


def test_a_chat_that_its_template_rewrites_is_refused(chatty):
    """Qwen 3's template moves thoughts out of answers: there the pieces would not be its rendering."""
    thinking = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' %}{% set parts = m['content'].split('</think>') %}"
        "{{ '<think>\n' + (parts[0] if parts[1:] else '') + '\n</think>\n\n' }}{% endif %}"
        "{{ m['content'].split('</think>')[-1] + '<|im_end|>\n' }}{% endfor %}"
    )
    chat, tokenizer = Chat(thinking, {}, where="here"), load_tokenizer(chatty)
    thought = [TALK[0], {"role": "assistant", "content": "two and two</think>4"}]
    assert chat.pieces(thought) == "the chat template rewrites what a message says"
    ids, learned = Encoder(tokenizer).encode([chat.pieces(TALK[:2])])[0]
    assert tokenizer.decode(ids[learned].tolist()) == "assistant\n<think>\n\n</think>\n\n4\n"


def test_only_the_last_answer_counts_when_asked(chatty):
    chat, tokenizer = load_chat(chatty), load_tokenizer(chatty)
    ids, learned = Encoder(tokenizer, turns="last").encode([chat.pieces(TALK)])[0]
    assert runs(tokenizer, ids, learned) == ["The sum is 6."] and ids[-1] == tokenizer.specials["<|im_end|>"]


def test_a_template_without_end_marks_gets_the_tokenisers(chatty):
    tokenizer = load_tokenizer(chatty)
    plain = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    asking = plain + "{% if add_generation_prompt %}assistant: {% endif %}"
    # asked without "assistant: ", the model has to write it
    for template, wanted in ((plain, "assistant: 4\n"), (asking, "4\n")):
        ids, learned = Encoder(tokenizer).encode([Chat(template, {}, where="here").pieces(TALK[:2])])[0]
        assert ids[-1] == tokenizer.end_id and learned[-1]
        assert tokenizer.decode(ids[learned].tolist()) == wanted


def test_chats_in_a_file_use_the_models_template_and_refusals_are_counted(chatty, tmp_path):
    rows = [
        {"messages": TALK},
        {"messages": [{"role": "system", "content": "x"}, *TALK]},
        {"question": "1+1", "answer": "2"},
    ]
    config = SftConfig(files=(write(tmp_path / "chat.jsonl", rows),), template="chat")
    tokenizer = load_tokenizer(chatty)
    shape = {"context": 256, "batch_size": 1, "seed": 0}
    source = Examples(config, tokenizer, model_folder=chatty, **shape)
    assert source.counts.used == 3 and not source.counts.dropped
    (tmp_path / "t.jinja").write_text(BRACKETS)
    strict = SftConfig(files=config.files, template="chat", chat_template=tmp_path / "t.jinja")
    source = Examples(strict, tokenizer, model_folder=chatty, **shape)
    assert source.counts.dropped == {"the chat template refuses it": 1}
    assert "only user and assistant" in source.counts.examples[0][1]
    (tmp_path / "bad.jinja").write_text("{% for %}")
    with pytest.raises(ConfigError, match="not a valid chat template: line 1"):
        Examples(SftConfig(files=config.files, chat_template=tmp_path / "bad.jinja"), tokenizer, **shape)
    with pytest.raises(ConfigError, match="no chat template"):
        Examples(config, tokenizer, model_folder=tmp_path, **shape)


def test_a_template_cannot_reach_out_of_its_sandbox(chatty):
    attack = "{{ messages.__class__.__mro__[1].__subclasses__() }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert "refuses" in Chat(attack, {}, where="here").pieces(TALK)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"sft\.valid_share"):
        SftConfig(valid_share=1.0)
    with pytest.raises(ValueError, match=r"sft\.length"):
        SftConfig(length=1)
