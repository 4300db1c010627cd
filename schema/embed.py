#!/usr/bin/env python3
"""Writes the numbered SQL files of a folder as C initialisers, one per file, for api/store/migrate.c.

README: `python3 schema/embed.py schema/versions > build/gen/versions.inc`.  A file is NNNN_name.sql; versions rise from 1
without a gap.  A row is
    {"NNNN_name.sql", bytes of the whole file, number of them}
with a NUL behind the bytes that is not counted.  What the file says is read by schema/migrate (and proven by its tests).
Exit 1 and a sentence on stderr if a name breaks the rule.
"""
import os
import re
import sys

NAME = re.compile(r'([0-9]{4})_[a-z0-9_]+\.sql')


def array(data):
    rows = [', '.join(str(byte) for byte in (data + b'\0')[i:i + 32]) for i in range(0, len(data) + 1, 32)]
    return '(const unsigned char[]){\n        ' + ',\n        '.join(rows) + '}'


def initialiser(folder, name, expected):
    match = NAME.fullmatch(name)
    if not match or int(match.group(1)) != expected:
        raise ValueError(f'{name}: expected a file named {expected:04d}_name.sql')
    with open(os.path.join(folder, name), 'rb') as file:
        data = file.read()
    return f'    {{"{name}",\n     {array(data)}, {len(data)}}},\n'


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: embed.py FOLDER')
    folder = sys.argv[1]
    names = sorted(name for name in os.listdir(folder) if name.endswith('.sql'))
    if not names:
        sys.exit(f'{folder}: no .sql file')
    try:
        text = ''.join(initialiser(folder, name, number) for number, name in enumerate(names, 1))
    except ValueError as problem:
        sys.exit(str(problem))
    print('/* Made by schema/embed.py from ' + folder + '. */')
    sys.stdout.write(text)


if __name__ == '__main__':
    main()
