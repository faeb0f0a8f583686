"""Captions of every length that fits, in random order of length, and some that do not."""

import random

WORDS = "a photo of two small red dogs running on the green grass near water , left of a cube , kids play ball .".split()


def every_length(tokenizer, context, seed=0):
    """One caption for each number of tokens from 1 to context - 2, and two longer ones."""
    chosen = random.Random(seed)
    words_of_one = [w for w in WORDS if len(tokenizer(w, add_special_tokens=False).input_ids) == 1]
    captions = []
    for length in [*range(1, context - 1), context, 3 * context]:
        words = []
        while (count := len(tokenizer(" ".join(words), add_special_tokens=False).input_ids)) < length:
            words.append(chosen.choice(words_of_one))
        assert count == length, "each word is one token"
        captions.append(" ".join(words))
    chosen.shuffle(captions)
    return captions
