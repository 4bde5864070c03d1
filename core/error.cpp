#include "core/error.hpp"

namespace penstock {

std::string_view name_of(errc code) noexcept {
  switch (code) {
  case errc::none: return "none";
  case errc::connection_lost: return "connection_lost";
  case errc::connection_refused: return "connection_refused";
  case errc::timed_out: return "timed_out";
  case errc::database_busy: return "database_busy";
  case errc::database_full: return "database_full";
  case errc::database_unavailable: return "database_unavailable";
  case errc::broker_busy: return "broker_busy";
  case errc::address_in_use: return "address_in_use";
  case errc::payload_malformed: return "payload_malformed";
  case errc::field_missing: return "field_missing";
  case errc::field_type: return "field_type";
  case errc::field_range: return "field_range";
  case errc::topic_mismatch: return "topic_mismatch";
  case errc::row_refused: return "row_refused";
  case errc::payload_too_large: return "payload_too_large";
  case errc::configuration: return "configuration";
  case errc::not_authorised: return "not_authorised";
  case errc::schema_mismatch: return "schema_mismatch";
  case errc::protocol_violation: return "protocol_violation";
  case errc::database_damaged: return "database_damaged";
  case errc::unsupported: return "unsupported";
  case errc::fenced: return "fenced";
  case errc::internal: return "internal";
  }
  return "unknown";
}

disposition disposition_of(errc code) noexcept {
  switch (static_cast<unsigned>(code) / 100) {
  case 1: return disposition::retry;
  case 2: return disposition::dead_letter;
  default: return disposition::fatal;
  }
}

std::string error::to_string() const {
  std::string text{name_of(code)};
  if (!message.empty()) {
    text += ": ";
    text += message;
  }
  return text;
}

} // namespace penstock
