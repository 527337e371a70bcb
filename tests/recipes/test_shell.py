"""Shell scripts keep to what bash 3.2 knows, the newest one on a Mac: the rules are of bash's own list of changes."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(
    path
    for folder in ("recipes", "egs", "tools", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and (path.suffix == ".sh" or path.read_bytes()[:20].startswith(b"#!/usr/bin/env bash"))
)

# What came after 3.2, and the version that brought it.
NEWER = {
    r"\b(declare|local|typeset|readonly)\s+-\w*[Aglnu]": "declare -A -l -u (4.0), -g (4.2), -n (4.3)",
    r"\b(mapfile|readarray|coproc)\b": "4.0",
    r"\$\{\w+(\[[^]]*\])?(\^|,)": "${x^^} and ${x,,}: 4.0",
    r"\$\{[^}]*@[QEPAaUuLK]\}": "${x@Q}: 4.4",
    r"&>>|\|&": "4.0",
    r";;&|;&": "4.0",
    r"\$\{[^}]*\[-\d": "negative subscripts: 4.3",
    r"\$\{\w+:\s*[^}:]*:\s*-": "negative lengths: 4.2",
    r"\bwait\s+-n\b": "4.3",
    r"\[\[?\s+(!\s+)?-[vR]\s": "[ -v x ]: 4.2",
    r"\$\{?(BASHPID|EPOCHSECONDS|EPOCHREALTIME|SRANDOM)\b": "4.0 and later",
    r"\b(globstar|lastpipe|inherit_errexit|autocd)\b": "4.0 and later",
    r"printf\s[^\n]*%\([^)]*\)T": "4.2",
    r"\$'[^']*\\[uU]": "4.2",
    r"\{0\d+\.\.|\{\w+\.\.\w+\.\.": "padded and stepped ranges: 4.0",
    r"exec\s+\{\w+\}": "{fd}>: 4.1",
    r"\bread\b[^\n]*\s-t\s*0?\.": "read -t with a fraction: 4.0",
    r"\blocal\s+-(\s|$)": "4.4",
    r"\$\((?!\()[^()\n]*\bcase\b": "case within $( ) is not parsed: 4.0",
}
EXPANSION = re.compile(r"\$\{(\w+)\[[@*]\]\}")


def faults(script: str) -> list[str]:
    """Lines that bash 3.2 does not take. With set -u it calls an empty array unbound."""
    code = [re.sub(r"(^|\s)#.*", "", line) for line in script.splitlines()]
    filled = set(re.findall(r"\b(\w+)=\([^)\s]", "\n".join(code))) if not re.search(r"=\(\)", script) else set()
    found = []
    for number, line in enumerate(code, 1):
        found += [f"line {number}: {since}: {line}" for rule, since in NEWER.items() if re.search(rule, line)]
        for match in EXPANSION.finditer(line):
            name = match[1]
            guarded = re.search(rf"\$\{{{name}\[[@*]\]:?\+[^{{]*\$\{{{name}\[[@*]\]\}}", line)
            if name not in filled and not guarded:
                found.append(f"line {number}: an empty array: ${{{name}[@]+…}}: {line}")
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_for_bash_3(script):
    assert faults(script.read_text(encoding="utf-8")) == []
    assert b"\r" not in script.read_bytes()
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(
    "line",
    [
        'echo "${settings[@]}"',
        'echo "${settings[*]}"',
        "declare -A sizes",
        "local -n other=$1",
        "mapfile -t lines",
        'echo "${name^^}"',
        "make &>> log",
        "make |& tee log",
        'echo "${names[-1]}"',
        'echo "${name:0:-1}"',
        "wait -n",
        "[ -v name ]",
        "case $x in a) echo ;;& esac",
        "x=$(case $1 in a) echo b ;; esac)",
        "for i in {01..10}; do echo $i; done",
        "echo ${name@Q}",
    ],
)
def test_the_rules_find(line):
    assert faults(f"settings=()\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        'echo ${settings[@]+"${settings[@]}"}',
        'echo "${settings[*]:+ ${settings[*]}}"',
        'echo "${#settings[@]}" "${name:1:2}" $((a < b ? a : b)) # ${settings[@]}',
        "local name=$1 other",
    ],
)
def test_the_rules_allow(line):
    assert faults(f"settings=()\n{line}\n") == []


def test_all_scripts_are_looked_at():
    assert {"run.sh", "pipeline.sh", "setup.sh"} <= {path.name for path in SCRIPTS}
    assert Path(ROOT / ".gitattributes").read_text(encoding="utf-8").count("eol=lf")
