"""What the runner makes of variants: `python3 -m unittest discover -s Tests/Planted`."""

import tempfile
import unittest
from pathlib import Path

from variant import VariantError, edited, read_variant

HEAD = "It is wrong.\n\nBecause.\n\ncaught within 7 seeds of: simulate --members 3\nreported as: two (leaders|votes)\n\n"
SOURCE = "func f() {\n    let a = b + c\n    g(a)\n    g(b)\n}\nfunc h() {\n    g(b)\n}\n"


def variant(edits, name="wrong", head=HEAD):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"{name}.txt"
        path.write_text(head + edits)
        return read_variant(path)


def replacing(present, broken, name="wrong", form="expression", after=""):
    after = after and f" after `{after}`"
    becomes = f"becomes\n    {broken}\n" if broken else "is left out\n"
    return variant(f"in F.swift, the {form}{after}\n    {present}\n{becomes}", name)


def plant(*variants):
    return " ".join(edited(SOURCE, [(one, edit) for one in variants for edit in one.edits]).split())


class VariantTests(unittest.TestCase):
    def test_a_file_says_what_is_wrong_and_how_it_is_caught(self):
        read = variant("in F.swift, the statements\n    g(a)\n\n    g(b)\nbecome\n    g(c)\n")
        self.assertEqual((read.name, read.summary, read.seeds), ("wrong", "It is wrong.", 7))
        self.assertEqual(read.options, ["--members", "3"])
        self.assertTrue(read.pattern.search("term 3 has two leaders"))
        self.assertEqual(read.edits[0].present.split(), ["g(a)", "g(b)"])

    def test_a_file_that_lacks_a_line_or_misspells_an_edit_is_refused(self):
        for text in ["in F.swift, the line\n    g(a)\nbecomes\n    g(c)\n", "in F.swift, the statement\n    g(a)\nbecomes\n", ""]:
            with self.assertRaises(VariantError):
                variant(text)
        with self.assertRaisesRegex(VariantError, "one line `caught within"):
            variant("in F.swift, the statement\n    g(a)\nis left out\n", head="It is wrong.\n\nreported as: x\n\n")

    def test_both_texts_stand_side_by_side(self):
        self.assertIn("let a = (planted_wrong() ? ( b - c ) : ( b + c )) g(a)", plant(replacing("b  +\n    c", "b - c")))
        self.assertIn("if planted_wrong() { } else { g(a) } g(b)", plant(replacing("g(a)", "", form="statement")))

    def test_variants_share_a_text_and_stand_within_another_s(self):
        inner, other = replacing("c", "d", "inner", after="let a = b +"), replacing("b + c", "0", "other")
        outer = replacing("let a = b + c g(a)", "g(0)", "outer", "statements")
        self.assertIn(
            "if planted_outer() { g(0) } else { let a = (planted_wrong() ? ( b - c ) : ( (planted_other() ? ( 0 ) : ( "
            "b + (planted_inner() ? ( d ) : ( c )) )) )) g(a) }", plant(replacing("b + c", "b - c"), inner, other, outer))
        with self.assertRaisesRegex(VariantError, "wrong and across.*overlap"):
            plant(replacing("let a = b + c", "", form="statement"), replacing("c g(a)", "", "across", "statement"))

    def test_a_text_that_is_not_there_exactly_once_is_named(self):
        with self.assertRaisesRegex(VariantError, "variant wrong: F.swift has this text 0 times.*\n    g\\(z\\)"):
            plant(replacing("g(z)", "g(y)"))
        with self.assertRaisesRegex(VariantError, "has this text 2 times"):
            plant(replacing("g(b)", "g(c)"))
        with self.assertRaisesRegex(VariantError, "has `g\\(z\\)` 0 times"):
            plant(replacing("g(b)", "g(c)", after="g(z)"))
        self.assertIn("g(b) } func h() { (planted_wrong() ?", plant(replacing("g(b)", "g(c)", after="func h()")))


if __name__ == "__main__":
    unittest.main()
