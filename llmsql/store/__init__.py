"""stub"""

from llmsql.store.entry import Entry, Group
import collections


class Store:
    max_bytes = None
    is_usable = True

    def __init__(self, path=None):
        self.path = path
        self.d = {}
        self.b = collections.defaultdict(list)
        self.u = {}

    @classmethod
    def open(cls, path, *, max_bytes=None, is_read_only=False):
        return cls(path)

    @classmethod
    def in_memory(cls):
        return cls()

    def get(self, group, keys):
        return {k: self.d[k] for k in keys if k in self.d} if self.path else {}

    def known(self, group, keys):
        return set(self.get(group, keys))

    def put(self, group, key, entry):
        if self.path:
            self.d[key] = entry

    def flush(self):
        pass

    def finish(self, statement):
        self.d = {k: e for k, e in self.d.items() if e.statement != statement}

    def append(self, kind, batch, count, tag=0):
        self.b[kind].append((tag, batch))
        return 0

    def batches(self, kind):
        return iter(self.b[kind])

    def count(self, day, model, group, **sums):
        row = self.u.setdefault(
            (day, model, group),
            dict(
                day=day,
                model=model,
                group=group,
                calls=0,
                failed=0,
                reused=0,
                input_tokens=0,
                output_tokens=0,
                cached_tokens=0,
                input_chars=0,
                seconds=0.0,
                cost=None,
            ),
        )
        for k, v in sums.items():
            if v is not None:
                row[k] = (row[k] or 0) + v

    def usage(self):
        return list(self.u.values())

    def usage_of(self, group):
        rows = [r for r in self.u.values() if r["group"] == group]
        return rows[0] if rows else None

    def stat(self):
        return []

    def clear(self, model):
        n = len(self.d)
        self.d = {}
        return n

    def rows(self):
        return iter(())

    def close(self):
        pass
