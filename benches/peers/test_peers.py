"""Tests of what computes without a model: `python -m unittest discover benches/peers` with the packages of requirements.txt."""

import unittest
from pathlib import Path

import numpy as np

import gguf_files
import tensors
import vocabulary
from results import interval, line, median, verdict
from rows import ROWS, Goal, Setting


class Numbers(unittest.TestCase):
    def test_bf16_rounds_to_the_nearest_and_ties_to_even(self):
        # 1 + 2^-8 lies between 1 and 1 + 2^-7; 1 + 3 * 2^-8 between 1 + 2^-7 and 1 + 2^-6.
        found = tensors.of_bf16(tensors.bf16(np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, -2.5])))
        self.assertEqual(found.tolist(), [1, 1, 1 + 2**-6, -2.5])

    def test_rotary_halves_are_interleaved_and_back(self):
        rows = np.arange(8)[:, None]
        self.assertEqual(gguf_files.paired(rows, 2)[:, 0].tolist(), [0, 2, 1, 3, 4, 6, 5, 7])
        self.assertEqual(gguf_files.halved(gguf_files.paired(rows, 2), 2).tolist(), rows.tolist())

    def test_vocabularies_have_the_size_and_the_places_that_were_asked_for(self):
        words = vocabulary.made_up(1000, ["<a>", "<b>"], first=900)
        self.assertEqual((len(words.tokens), words.tokens[900:902]), (1000, ["<a>", "<b>"]))
        self.assertTrue(all(left + right in words.tokens for left, right in words.merges))
        self.assertEqual(sum(words.types()), 998 + 2 * 3)


class Results(unittest.TestCase):
    def test_interval_of_twenty_is_from_the_sixth_to_the_fifteenth(self):
        # Conover, Practical Nonparametric Statistics, section 3.2: 95.9 %.
        self.assertEqual(interval(list(range(1, 21))), (6, 15))
        self.assertEqual(interval([3, 1, 2]), (1, 3))
        self.assertEqual((median([3, 1, 2]), median([4, 1, 2, 3])), (2, 2.5))

    def test_verdicts(self):
        at_least, at_most = Goal(1.5), Goal(1.05, at_least=False)
        self.assertEqual(verdict(at_least, 1.5, 1.6), "met")
        self.assertEqual(verdict(at_least, 1.2, 1.4), "missed")
        self.assertIn("open", verdict(at_least, 1.4, 1.6))
        self.assertEqual(verdict(at_most, 0.9, 1.0), "met")
        self.assertEqual(verdict(at_most, 1.1, 1.2), "missed")

    def test_a_line_has_every_column(self):
        pair = lambda a, b: {"a": {"figure": a}, "b": {"figure": b}}
        report = {
            "pairs": [pair(0.010, 0.013)] * 20,
            "ended": "2026-01-01T00:00:00Z",
            "summary": {
                "a": {"median": 0.010}, "b": {"median": 0.013}, "probe_bytes_per_s": {"median": 16e9}, "others_cores": 0.01,
                "ratio": {"median": 1.3, "low": 1.2, "high": 1.4, "confidence": 0.959},
            },
        }
        row = ROWS["builds-first-token"]
        found = line("builds-first-token", row, row.goal(None), report, "a mode")
        self.assertEqual(
            found,
            "| builds-first-token | two builds: time to first token, model loaded | before: 10 ms | after: 13 ms | 20 | "
            "1.30 (95.9 %: 1.20 .. 1.40); b - a 3 ms (3 .. 3) | at most 2 ms: missed | 16 | 0.01 | a mode | 2026-01-01T00:00:00Z |\n",
        )


class Rows(unittest.TestCase):
    def test_every_row_has_two_commands_and_a_try_is_short(self):
        setting = Setting(
            monocle="monocle", python="python", processor_python="other", models=Path("models"), threads=2, cores="0,1", busy="1",
            before="old", after="new", tokens=4, has_vnni=False,
        )
        prompt = {"short": {"text": "a", "tokens": 20}, "long": {"text": "b", "tokens": 1000}}
        for name, row in ROWS.items():
            commands = [list(map(str, command)) for command in row.commands(setting, {"smol": prompt, "2b": prompt})]
            self.assertEqual(len(commands), 2, name)
            self.assertNotEqual(*commands)
            for command in commands:
                if "--max-tokens" in command:
                    self.assertLessEqual(int(command[command.index("--max-tokens") + 1]), 4, name)



if __name__ == "__main__":
    unittest.main()
