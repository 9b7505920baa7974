"""Writing one row so that the newest wins, in one step that no other writer can come between.

The step is a Lua script on one key, so it works on a cluster too. Rows of one entity and view are
ordered by event timestamp, then by created timestamp, where none is the oldest; a row replaces the
stored one only if it is newer. The script reads the stored order from the timestamps themselves,
because a stock writer may have left them. Two rows are replaced though they are not older: one of
the same age that lacks a feature, which the view got since, and one with a value of another type,
which nobody can read any more.

Whether a row is written or not, its entity lives as long after as the options say.

A created timestamp is kept beside the row as a protobuf Timestamp with one more field (3) that
repeats the event timestamp it belongs to: a stock writer replaces the row and leaves our field,
which must then not count. Readers of Timestamp pass over a field they do not know.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from feast_fusion.online.read_plan import created_field, feature_field, timestamp_field

Command = tuple[bytes, ...]

# KEYS: the entity. ARGV: "1" to keep a stored row that is not older, seconds to live (0: forever),
# field and value of the created timestamp ("" is none), of the event timestamp, of each feature.
# The answer is 1 where the row was written, else 0.
SCRIPT = """
local function number(stamp, at)
  local value, inverse, place = 0, 0, 1
  for digit_at = at, at + 8 do
    local digit = string.byte(stamp, digit_at)
    value = value + digit % 128 * place
    inverse = inverse + (127 - digit % 128) * place
    if digit < 128 then return value, digit_at + 1 end
    place = place * 128
  end
  return -inverse - 1, at + 10  -- ten digits: a negative number in two's complement
end

local function time(stamp)
  local seconds, nanos, at = 0, 0, 1
  while at <= #stamp do
    local tag = string.byte(stamp, at)
    if tag == 8 then
      seconds, at = number(stamp, at + 1)
    elseif tag == 16 then
      nanos, at = number(stamp, at + 1)
    else
      break
    end
  end
  return seconds, nanos
end

local function compare(one, other)
  local seconds, nanos = time(one)
  local other_seconds, other_nanos = time(other)
  if seconds ~= other_seconds then return seconds - other_seconds end
  return nanos - other_nanos
end

-- The tag that a value starts with tells its type; a vector may be stored as bytes (float16, int8).
local function same_type(one, other)
  local a, b = string.byte(one, 1, 2)
  local c, d = string.byte(other, 1, 2)
  if a == c then return a < 128 or b == d end
  return a == 10 and c == 130 and d == 1 or a == 130 and b == 1 and c == 10
end

-- Above 0 where the row is newer than the stored row, 0 where they are of one age.
local function age(stamp, created, old_stamp, old_created)
  local order = compare(stamp, old_stamp)
  if order ~= 0 then return order end
  local owner = '\\26' .. string.char(#old_stamp) .. old_stamp
  if not old_created or string.sub(old_created, -#owner) ~= owner then
    return created == '' and 0 or 1
  end
  return created == '' and -1 or compare(created, old_created)
end

local key, created_field, created, stamp_field, stamp = KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

-- Whether the stored row lacks a feature, and whether it has one of another type.
local function earlier_schema()
  local lacks, differs = false, false
  for first = 7, #ARGV, 4000 do
    local last, fields = math.min(first + 3999, #ARGV), {}
    for at = first, last, 2 do fields[#fields + 1] = ARGV[at] end
    for place, old in ipairs(redis.call('HMGET', key, unpack(fields))) do
      local new = ARGV[first + 2 * place - 1]
      if not old then
        lacks = true
      elseif old ~= '' and new ~= '' and not same_type(old, new) then
        differs = true
      end
    end
  end
  return lacks, differs
end

local function is_replaced()
  local old = redis.pcall('HMGET', key, stamp_field, created_field)
  if old.err then return old end
  local order = old[1] and age(stamp, created, old[1], old[2]) or 1
  if order > 0 then return true end
  local lacks, differs = earlier_schema()
  return differs or lacks and order == 0
end

local function set_life()
  if ARGV[2] == '0' then redis.call('PERSIST', key) else redis.call('EXPIRE', key, ARGV[2]) end
end

if ARGV[1] == '1' then
  local replaced = is_replaced()
  if type(replaced) == 'table' then return replaced end
  if not replaced then set_life() return 0 end
end
local start = created == '' and 5 or 3
for first = start, #ARGV, 2000 do  -- Lua's stack bounds the arguments of one call
  local last = math.min(first + 1999, #ARGV)
  local written = redis.pcall('HSET', key, unpack(ARGV, first, last))
  if type(written) == 'table' then return written end
end
if created == '' then redis.call('HDEL', key, created_field) end
set_life()
return 1
"""

_DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
_CALL: Command = (b"EVALSHA", _DIGEST.encode(), b"1")
_OWNER = b"\x1a"  # field 3, length-delimited


@dataclass(frozen=True)
class NewestRow:
    """The commands that write rows.

    Attributes
    ----------
    guarded : False writes every row, older or not
    ttl_s : seconds after which Redis drops the entity; 0 is never
    """

    guarded: bool = True
    ttl_s: int = 0

    def commands(
        self,
        view: str,
        keys: Sequence[bytes],
        stamps: Sequence[bytes],
        created: Sequence[bytes | None],
        columns: Mapping[str, Sequence[bytes]],
    ) -> list[Command]:
        """One call of `SCRIPT` per row.

        Parameters
        ----------
        view : the name under which the view is stored, with its version if it has one
        keys : Redis key of each row
        stamps, created : serialized Timestamps of each row; None where it has no created one
        columns : by feature, the serialized value of each row
        """
        stamp_field, made_field = timestamp_field(view), created_field(view)
        options = (b"1" if self.guarded else b"0", b"%d" % self.ttl_s)
        owned = [
            b"" if made is None else b"".join((made, _OWNER, bytes((len(stamp),)), stamp))
            for stamp, made in zip(stamps, created, strict=True)
        ]
        fields = [feature_field(view, name) for name in columns]
        pairs: Iterable[Command] = zip(
            *chain.from_iterable(
                (repeat(field), column)
                for field, column in zip(fields, columns.values(), strict=True)
            ),
            strict=False,
        )
        return [
            (*_CALL, key, *options, made_field, made, stamp_field, stamp, *values)
            for key, stamp, made, values in zip(
                keys, stamps, owned, pairs if fields else [()] * len(keys), strict=True
            )
        ]
