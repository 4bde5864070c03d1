@0xc1d8a3f26b5e4907;
# A frame: up to some thousand records of one pipeline and shard, by column, plus the messages among them that could not
# become records. The only thing that carries records between actors and nodes.
#
# Evolution: add fields at the end, never renumber or reuse (Cap'n Proto's rules); raise `version` only where an old
# reader would misread.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::record::schema");

struct Frame {
  version @0 :UInt16 = 1;
  pipeline @1 :Text;
  shard @2 :UInt32;
  epoch @3 :UInt64;            # of the shard's lease
  chunk @4 :UInt64;            # with pipeline, shard and epoch: the handle by which the frame is acknowledged
  rows @5 :UInt32;
  columns @6 :List(Column);    # in the order of the configuration
  topics @7 :Strings;          # per row: the message as it came, for the dead letters; null, and so
  payloads @8 :Strings;        #   payloads, where a link carries the frame: they are asked for when they are needed
  letters @9 :List(Letter);    # messages that became no row
  arrived @10 :List(Int64);    # per row: microseconds since 1970, UTC
}

struct Column {
  nulls @0 :Data;              # bit i of byte i/8: row i is NULL; empty: no NULLs
  union {
    integers @1 :List(Int64);  # integer; timestamp as microseconds since 1970, UTC
    reals @2 :List(Float64);
    booleans @3 :Data;         # a byte a row, 0 or 1
    strings @4 :Strings;       # text, json, bytes
  }
}

struct Strings {
  bytes @0 :Data;              # all values, one after the other
  ends @1 :List(UInt32);       # where value i ends in `bytes`; it begins where i-1 ends
}

struct Letter {
  topic @0 :Data;
  payload @1 :Data;
  code @2 :UInt16;             # core/error.hpp, 2xx
  reason @3 :Text;
  arrived @4 :Int64;           # microseconds since 1970, UTC
}
