// A source that reads on in a thread of its own while its caller is busy with what it has: as long as reads along the
// path of what is new come back full, the next one is under way. One read of rows more is held in memory.
//
// Used by one thread, as any source; the connection beneath is never used by two at a time. Rows are as of when they
// were read: what became visible in between is met by the caller as rows that came late.
#pragma once

#include "storage/source.hpp"

#include <memory>

namespace penstock::storage {

std::unique_ptr<source> read_ahead(std::unique_ptr<source> rows);

} // namespace penstock::storage
