"""A bank in SQLite: each transaction moves money between two accounts and records itself with a sum.

usage: sqlite_bank.py write|check DATABASE JOURNAL-MODE LOG      LOG names each transaction after its commit returned
"""

import hashlib
import os
import random
import sqlite3
import sys

ACCOUNTS = 1000
OPENING = 100


def payload_sum(number, payload):
    return hashlib.sha256(number.to_bytes(8, "little") + payload).digest()


def open_bank(path, mode):
    bank = sqlite3.connect(path, isolation_level=None)
    assert bank.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
    # In WAL mode only FULL makes each commit durable; in rollback mode EXTRA also syncs the directory.
    bank.execute(f"pragma synchronous={'full' if mode == 'wal' else 'extra'}")
    return bank


def create(bank):
    bank.execute("begin")
    bank.execute("create table account(id integer primary key, balance integer not null)")
    bank.execute("create table move(number integer primary key, payload blob, sum blob)")
    bank.executemany("insert into account values(?, ?)", [(n, OPENING) for n in range(ACCOUNTS)])
    bank.execute("commit")


def write(bank, log_path):
    if not bank.execute("select 1 from sqlite_master where name = 'move'").fetchone():
        create(bank)
    number = bank.execute("select coalesce(max(number), 0) from move").fetchone()[0]
    with open(log_path, "a", encoding="ascii") as log:
        while True:
            number += 1
            giver, taker = random.sample(range(ACCOUNTS), 2)
            payload = os.urandom(random.randint(1, 6000))
            bank.execute("begin immediate")
            bank.execute("update account set balance = balance - 1 where id = ?", (giver,))
            bank.execute("update account set balance = balance + 1 where id = ?", (taker,))
            bank.execute("insert into move values(?, ?, ?)", (number, payload, payload_sum(number, payload)))
            bank.execute("commit")
            print(number, file=log, flush=True)


def check(bank, log_path):
    assert bank.execute("pragma integrity_check").fetchall() == [("ok",)]
    with open(log_path, encoding="ascii") as log:
        acknowledged = {int(line) for line in log}
    found = set()
    for number, payload, wanted in bank.execute("select number, payload, sum from move"):
        assert payload_sum(number, payload) == wanted, f"transaction {number} is damaged"
        found.add(number)
    assert acknowledged <= found, f"lost: {sorted(acknowledged - found)[:10]}"
    assert found == set(range(1, len(found) + 1)), "a transaction is missing before a later one"
    assert bank.execute("select sum(balance) from account").fetchone()[0] == ACCOUNTS * OPENING
    print(f"{len(found)} transactions, {len(acknowledged)} acknowledged")


def main():
    verb, path, mode, log_path = sys.argv[1:]
    bank = open_bank(path, mode)
    {"write": write, "check": check}[verb](bank, log_path)


main()
