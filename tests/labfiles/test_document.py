"""Reading lab files: includes, and what is no lab file."""

from __future__ import annotations

import pytest

from emulator.errors import LabFileError
from emulator.labfiles.document import LONGEST, SHOWN, parse, read


def write(folder, **files):
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".toml")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder / "lab.toml"


def test_files_make_one_document(tmp_path):
    lab = write(
        tmp_path,
        lab='include = ["more/groups.toml", "cvms.toml"]\nprofile = "alibaba"\n[cvm.A]\n',
        more__groups='include = ["../vpcs.toml"]\n[security_group.web]\n',
        vpcs='[vpc.demo]\ncidr = "10.0.0.0/16"\n',
        cvms="[cvm.B]\n",
    )
    document = read(lab)
    assert document.data["profile"] == "alibaba"
    assert document.names("cvm") == ["A", "B"]
    assert document.names("vpc") == ["demo"]
    assert document.sources["vpc", "demo"].name.endswith("vpcs.toml")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"lab": 'include = ["lab.toml"]'}, "lab.toml:1: lab.toml includes itself: lab.toml > lab.toml"),
        (
            {"lab": '\ninclude = [\n "a.toml"\n]', "a": 'include = ["b.toml"]', "b": 'include = ["a.toml"]'},
            "b.toml:1: a.toml includes itself: lab.toml > a.toml > b.toml > a.toml",
        ),
        ({"lab": '\ninclude = [\n "../a.toml",\n]'}, "lab.toml:3: ../a.toml is not in the folder "),
        ({"lab": 'include = ["/etc/passwd"]'}, "/etc/passwd is not in the folder "),
        ({"lab": 'include = ["nothing.toml"]'}, "lab.toml:1: there is no file nothing.toml"),
        ({"lab": "[cvm.A]\n[cvm.A]"}, "lab.toml:2: this is no TOML: "),
        ({"lab": "[cvm.A\n"}, "lab.toml:1: this is no TOML: "),
        ({"lab": "a = " + "[" * 5000}, "lab.toml"),
        (
            {"lab": '[cvm.A]\ninclude = ["a.toml"]'},
            "lab.toml:2: cvm A: unknown key 'include'; ",
        ),
        (
            {"lab": 'include = ["a.toml"]\n[cvm.A]\n', "a": "\n[cvm.A]\n"},
            "a.toml:2: cvm A: {folder}/a.toml has it, too; it is in {folder}/lab.toml, line 2, already",
        ),
        (
            {"lab": "[cvm.A]\nip = 1\n[cvm.B]\n\nnaem = 2\n"},
            "lab.toml:2: cvm A: unknown key 'ip'; did you mean ipv6?\n"
            "{folder}/lab.toml:5: cvm B: unknown key 'naem'; did you mean name?",
        ),
        (
            {"lab": "[security_group.web]\nrules = [\n {allow='ingress'},\n {alow='ingress'},\n]"},
            "lab.toml:4: security group web: rules, entry 2: unknown key 'alow'; did you mean allow",
        ),
    ],
    ids=[
        *("itself", "a circle", "out of the folder", "absolute", "missing", "twice", "no TOML", "nested"),
        *("at the wrong place", "in two files", "several", "in a rule"),
    ],
)
def test_what_is_wrong(tmp_path, files, said):
    with pytest.raises(LabFileError) as refused:
        read(write(tmp_path, **files))
    assert said.replace("{folder}", str(tmp_path)) in str(refused.value)


def test_a_link_out_of_the_folder(tmp_path):
    (tmp_path / "secret.toml").write_text("[cvm.A]\n")
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs/inside.toml").symlink_to("../secret.toml")
    (tmp_path / "labs/lab.toml").write_text('include = ["inside.toml"]')
    with pytest.raises(LabFileError, match=r"lab\.toml:1: inside\.toml is not in the folder"):
        read(tmp_path / "labs/lab.toml")


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(LabFileError, match=r"nothing\.toml cannot be read: No such file"):
        read(tmp_path / "nothing.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\x89PNG")
    with pytest.raises(LabFileError, match="no text in UTF-8: byte 0 is 0x89"):
        read(tmp_path / "bytes.toml")
    with open(tmp_path / "long.toml", "wb") as file:
        file.truncate(LONGEST + 1)
    with pytest.raises(LabFileError, match=f"at most {LONGEST}"):
        read(tmp_path / "long.toml")


def test_many_problems_are_counted():
    with pytest.raises(LabFileError) as refused:
        parse("".join(f"[cvm.A{number}]\nx = 1\n" for number in range(SHOWN + 5)))
    assert len(refused.value.problems) == SHOWN + 5
    assert str(refused.value).splitlines()[-1] == "and 5 more"
