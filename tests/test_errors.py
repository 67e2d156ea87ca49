"""InputErrors are one line, whatever their files are called and whichever process they come from."""

import pickle
import traceback

from nightlab.errors import InputError, exits_on_input_error, one_line, shortened


def test_names_that_break_lines_or_terminals():
    error = InputError("a\nb\x1b[31m\udcff.png: bad")
    assert str(error) == one_line(error) == r"a\nb\x1b[31m\udcff.png: bad"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_message_out_of_a_traceback():
    try:
        raise InputError("a\nb.png: bad: nightlab")
    except InputError:
        told = f"Caught InputError in DataLoader worker process 0.\nOriginal {traceback.format_exc()}"
    assert one_line(InputError(told)) == r"a\nb.png: bad: nightlab"
    assert one_line(RuntimeError(f"\n-- Process 1 terminated:\n{told}")) == r"a\nb.png: bad: nightlab"


def test_a_command_ends_in_one_line(capsys):
    @exits_on_input_error("tool.py")
    def main(error):
        raise error

    assert main(InputError("x.png: bad")) == 2 and main(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "tool.py: x.png: bad\ntool.py: interrupted\n"


def test_a_long_text_keeps_its_ends_and_the_bound():
    assert shortened("two\n lines") == "two lines"
    for most in (50, 51):
        line = shortened("begin " + 1000 * "x" + " end", most)
        assert len(line) <= most and line.startswith("begin x") and " ... " in line and line.endswith("x end")
