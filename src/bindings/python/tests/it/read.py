"""All of siltstone.pyi on the store that tests/it/main.rs has made.

usage: read.py DIRECTORY ROOT STUB   ROOT is that of disk@new

disk is 1 MiB and 5 bytes. disk@old has the bytes 1 at 4096, 8192 of them; disk@new also has zeros that are allocated at 4096,
4096 of them, and the bytes 2 at 1048576, 5 of them.
"""

import ast
import pathlib
import sys
import threading
import unittest

import siltstone

DIRECTORY, ROOT, STUB = sys.argv[1:]
SIZE = (1 << 20) + 5


def opened():
    return siltstone.open(DIRECTORY, memory_bytes=128 << 20, read_only=True)


class Reading(unittest.TestCase):
    def test_the_stub_has_what_the_module_has(self):
        stub = {node.name: node for node in ast.parse(pathlib.Path(STUB).read_text()).body if hasattr(node, "name")}
        self.assertEqual(set(stub), {name for name in dir(siltstone) if not name.startswith("_")})
        for name, node in stub.items():
            if isinstance(node, ast.ClassDef):
                names = {one.name for one in node.body if isinstance(one, ast.FunctionDef)} - {"__next__"}
                there = vars(getattr(siltstone, name))
                self.assertEqual({one for one in there if not one.startswith("_")}, {one for one in names if one[0] != "_"})
                self.assertTrue(names <= set(there), name)

    def test_lists(self):
        with opened() as store:
            (disk,) = store.volumes()
            self.assertEqual((disk.name, disk.size_bytes), ("disk", SIZE))
            self.assertIn("disk", repr(disk))
            old, new = store.snapshots("disk")
            self.assertEqual((old.name, new.name), ("disk@old", "disk@new"))
            self.assertLess(old.id, new.id)
            self.assertGreater(old.created_ms, 1_600_000_000_000)
            self.assertEqual([one.id for one in store.snapshots()], [old.id, new.id])
            self.assertRaises(siltstone.NotFound, store.snapshots, "none")

    def test_bytes(self):
        with opened() as store, store.view("disk@new") as new, store.view("disk") as disk:
            self.assertEqual((new.name, new.size_bytes), ("disk@new", SIZE))
            content = bytes(8192) + bytes([1]) * 4096 + bytes((1 << 20) - 12288) + bytes([2]) * 5
            self.assertEqual(new.read_at(0, SIZE), content)
            self.assertEqual(disk.read_at(0, SIZE), content)
            self.assertEqual(new.read_at((1 << 20) - 1, 2), b"\0\2")
            self.assertEqual(new.read_at(SIZE, 0), b"")
            for offset, length in [(1, SIZE), (SIZE, 1), ((1 << 64) - 1, 2), (0, 1 << 62)]:
                self.assertRaises(siltstone.Invalid, new.read_at, offset, length)
            self.assertRaises(OverflowError, new.read_at, -1, 1)

    def test_what_is_not_closed_goes_by_itself(self):
        store = opened()
        view = store.view("disk@new")
        blocks = view.fingerprints()
        del store, view
        self.assertEqual(next(blocks), (0, 8192, None))
        threads = [threading.Thread(target=lambda: opened().view("disk").read_at(0, 1)) for _ in range(4)]
        for thread in threads:
            thread.start()
        del blocks
        for thread in threads:
            thread.join()

    def test_ranges(self):
        with opened() as store, store.view("disk@new") as new, store.view("disk@old") as old:
            self.assertEqual(list(new.changes_since(old)), [(4096, 4096), (1 << 20, 5)])
            self.assertEqual(
                list(new.allocation()),
                [
                    (0, 4096, "hole"),
                    (4096, 4096, "zeros"),
                    (8192, 4096, "data"),
                    (12288, (1 << 20) - 12288, "hole"),
                    (1 << 20, 5, "data"),
                ],
            )
            self.assertEqual(list(new.allocation(5000, 10)), [(5000, 10, "zeros")])
            zeros, first, second = old.fingerprints(0, 12288)
            self.assertEqual(zeros, (0, 4096, None))
            self.assertEqual((first[:2], second[:2]), ((4096, 4096), (8192, 4096)))
            self.assertEqual(first[2], second[2])
            self.assertEqual(len(first[2]), 32)
            self.assertEqual(sum(length for _, length, _ in new.fingerprints()), SIZE)
            self.assertRaises(siltstone.Invalid, new.fingerprints, 0, SIZE + 1)
            self.assertRaises(siltstone.Invalid, new.allocation, SIZE + 1)

    def test_roots(self):
        with opened() as store, store.view("disk@new") as new:
            self.assertEqual(new.root(), ROOT)

    def test_what_is_closed_is_unavailable(self):
        store = opened()
        view = store.view("disk@old")
        blocks = view.fingerprints()
        view.close()
        view.close()
        self.assertRaisesRegex(siltstone.Unavailable, "disk@old is closed", view.read_at, 0, 1)
        self.assertEqual(len(list(blocks)), 4, "what was opened of it goes on")
        store.close()
        store.close()
        self.assertRaises(siltstone.Unavailable, store.volumes)
        self.assertRaises(siltstone.Unavailable, store.view, "disk")

    def test_errors_are_of_one_family(self):
        kinds = "NotFound Exists Busy OutOfSpace Corrupt Invalid ReadOnly Unavailable Unsupported Cancelled Stopped IoError"
        for kind in kinds.split():
            self.assertTrue(issubclass(getattr(siltstone, kind), siltstone.Error), kind)
        self.assertRaisesRegex(siltstone.Unavailable, "/nowhere", siltstone.connect, "/nowhere")
        self.assertRaisesRegex(siltstone.NotFound, "/nowhere", siltstone.open, pathlib.Path("/nowhere"))
        self.assertRaises(siltstone.Invalid, siltstone.open, DIRECTORY, memory_bytes=1)
        with opened() as store:
            self.assertRaises(siltstone.ReadOnly, store.snapshot, "disk@x")
            self.assertRaises(siltstone.NotFound, store.view, "disk@none")
            self.assertRaises(siltstone.Invalid, store.view, "Disk")

    def test_an_exception_closes_too(self):
        with self.assertRaises(ZeroDivisionError):
            with opened() as store, store.view("disk") as view:
                1 / 0
        self.assertRaises(siltstone.Unavailable, view.read_at, 0, 1)
        self.assertRaises(siltstone.Unavailable, store.volumes)

    def test_threads_share_a_view(self):
        failures = []

        def read(view):
            for at in range(300):
                if view.read_at(8192 + at, 1) != b"\1":
                    failures.append(at)

        with opened() as store, store.view("disk@new") as view:
            threads = [threading.Thread(target=read, args=[view]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])

    def test_zz_snapshots_come_and_go(self):
        with siltstone.connect_or_open(DIRECTORY, memory_bytes=128 << 20) as store:
            self.assertRaises(siltstone.Busy, siltstone.open, DIRECTORY, memory_bytes=128 << 20)
            with store.snapshot("disk@made"):
                self.assertRaises(siltstone.Exists, store.snapshot, "disk@made")
                self.assertRaises(siltstone.Busy, store.remove_snapshot, "disk@made")
            store.remove_snapshot("disk@made")
            self.assertRaises(siltstone.NotFound, store.remove_snapshot, "disk@made")


unittest.main(argv=[sys.argv[0]])
