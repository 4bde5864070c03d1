// Payloads of format json: decode/decoder.hpp has the rules.
#pragma once

#include "decode/decoder.hpp"

namespace penstock::decode {

std::unique_ptr<decoder> make_json_decoder(const config::ingest& pipeline);

} // namespace penstock::decode
