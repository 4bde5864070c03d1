#include "decode/json.hpp"

#include "config/value.hpp"
#include "core/assert.hpp"
#include "decode/convert.hpp"
#include "decode/json_document.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace penstock::decode {

namespace {

using source_kind = config::source::kind;
using record::frame_builder;

constexpr std::size_t none = static_cast<std::size_t>(-1);

struct json_column {
  std::size_t index;
  column_type type;
  bool optional;
  source_kind from;
  std::size_t path = none;         // payload_path
  std::vector<std::size_t> levels; // topic_level: for each pattern, which of its names
  std::string constant;
  std::string label; // "field 'payload.time' of column 'time'"
};

class json_decoder final : public decoder {
public:
  explicit json_decoder(const config::ingest& pipeline) {
    for (const auto& topic : pipeline.topics) {
      auto pattern = topic_pattern::parse(topic);
      assert_that(static_cast<bool>(pattern), "a pipeline's topic patterns were checked");
      patterns_.push_back(*std::move(pattern));
    }
    for (std::size_t i = 0; i < pipeline.columns.size(); ++i)
      add(pipeline.columns[i], i);
    // $latency_ms needs the timestamp, wherever that stands.
    std::stable_partition(columns_.begin(), columns_.end(),
                          [](const json_column& column) { return column.from != source_kind::latency_ms; });
  }

  void decode(std::string_view topic, std::string_view payload, wall_time arrived, frame_builder& into) override {
    failure_ = {};
    if (find_pattern(topic) && parse(payload) && set_columns(topic, payload, arrived, into)) {
      into.commit_row(topic, payload, arrived);
    } else {
      into.discard_row();
      into.add_letter(topic, payload, failure_, arrived);
    }
  }

private:
  void add(const config::column& from, std::size_t index) {
    json_column column{index, from.type, from.optional, from.source.from, none, {}, {}, {}};
    switch (column.from) {
    case source_kind::payload_path:
      column.path = document_.add_path(from.source.path);
      if (column.type == column_type::timestamp && timestamp_column_ == none)
        timestamp_column_ = index;
      break;
    case source_kind::payload_rest: document_.collect_rest(); break;
    case source_kind::topic_level:
      for (const auto& pattern : patterns_) {
        const auto at = std::find(pattern.names().begin(), pattern.names().end(), from.source.name);
        assert_that(at != pattern.names().end(), "every pattern of a pipeline has the level that a column names");
        column.levels.push_back(static_cast<std::size_t>(at - pattern.names().begin()));
      }
      break;
    case source_kind::constant: column.constant = from.source.name; break;
    default: break;
    }
    column.label = "field '" + config::to_text(from.source).value_or("value") + "' of column '" + from.name + "'";
    columns_.push_back(std::move(column));
  }

  bool fail(errc code, std::string reason) {
    failure_ = {code, std::move(reason)};
    return false;
  }

  /// "field 'payload.time' of column 'time': not an RFC 3339 time: "yesterday""
  bool fail(const json_column& column, errc code, std::string_view what, std::string_view value = {}) {
    std::string reason = column.label + ": " + std::string{what};
    if (!value.empty())
      reason += ": " + excerpt(value);
    return fail(code, std::move(reason));
  }

  bool find_pattern(std::string_view topic) {
    for (pattern_ = 0; pattern_ < patterns_.size(); ++pattern_)
      if (patterns_[pattern_].match(topic, levels_))
        return is_utf8(topic) || fail(errc::topic_mismatch, "the topic is not UTF-8");
    return fail(errc::topic_mismatch, "the topic matches no pattern of the pipeline");
  }

  bool parse(std::string_view payload) {
    const auto parsed = document_.parse(payload);
    return parsed || fail(parsed.error().code, parsed.error().message);
  }

  bool set_columns(std::string_view topic, std::string_view payload, wall_time arrived, frame_builder& into) {
    timestamp_.reset();
    for (const auto& column : columns_) {
      bool set = true;
      switch (column.from) {
      case source_kind::payload_path: set = set_value(column, document_.value(column.path), into); break;
      case source_kind::payload_raw: into.set_string(column.index, payload); break;
      case source_kind::payload_rest: into.set_string(column.index, document_.rest()); break;
      case source_kind::topic: into.set_string(column.index, topic); break;
      case source_kind::topic_level: set = set_level(column, levels_[column.levels[pattern_]], into); break;
      case source_kind::received: into.set_integer(column.index, arrived.time_since_epoch().count()); break;
      case source_kind::latency_ms: set = set_latency(column, arrived, into); break;
      case source_kind::constant: set = set_bare(column, column.constant, into); break;
      }
      if (!set)
        return false;
    }
    return true;
  }

  bool set_absent(const json_column& column, frame_builder& into) {
    if (!column.optional)
      return fail(column, errc::field_missing, "there is no value");
    into.set_null(column.index);
    return true;
  }

  bool set_value(const json_column& column, const json_value& value, frame_builder& into) {
    using kind = json_value::kind;
    if (value.what == kind::absent || value.what == kind::null)
      return set_absent(column, into);
    switch (column.type) {
    case column_type::text:
    case column_type::bytes:
      if (value.what == kind::object || value.what == kind::array)
        return fail(column, errc::field_type, "not a text", value.raw);
      into.set_string(column.index, value.what == kind::string ? value.text : value.raw);
      return true;
    case column_type::json: into.set_string(column.index, value.raw); return true;
    case column_type::integer: return set_integer(column, value.what == kind::number, value.raw, into);
    case column_type::real: return set_real(column, value.what == kind::number, value.raw, into);
    case column_type::boolean: return set_boolean(column, value.what == kind::boolean, value.raw, into);
    case column_type::timestamp: break;
    }
    if (value.what == kind::string)
      return set_time(column, value.text, value.raw, into);
    return set_epoch(column, value.what == kind::number, value.raw, into);
  }

  bool set_level(const json_column& column, std::string_view text, frame_builder& into) {
    if (column.type == column_type::timestamp && !is_json_number(text))
      return set_time(column, text, text, into);
    return set_bare(column, text, into);
  }

  /// From text outside of JSON: a constant, or a topic's level.
  bool set_bare(const json_column& column, std::string_view text, frame_builder& into) {
    switch (column.type) {
    case column_type::integer: return set_integer(column, true, text, into);
    case column_type::real: return set_real(column, true, text, into);
    case column_type::boolean: return set_boolean(column, true, text, into);
    case column_type::timestamp: return set_epoch(column, true, text, into);
    default: into.set_string(column.index, text); return true;
    }
  }

  bool set_integer(const json_column& column, bool number, std::string_view text, frame_builder& into) {
    std::int64_t value = 0;
    const auto outcome = number ? to_integer(text, value) : conversion::wrong_type;
    if (outcome == conversion::wrong_type)
      return fail(column, errc::field_type, "not an integer", text);
    if (outcome == conversion::wrong_size)
      return fail(column, errc::field_range, "too large for an integer", text);
    into.set_integer(column.index, value);
    return true;
  }

  bool set_real(const json_column& column, bool number, std::string_view text, frame_builder& into) {
    double value = 0;
    const auto outcome = number ? to_real(text, value) : conversion::wrong_type;
    if (outcome == conversion::wrong_type)
      return fail(column, errc::field_type, "not a number", text);
    if (outcome == conversion::wrong_size)
      return fail(column, errc::field_range, "outside the range of a real", text);
    into.set_real(column.index, value);
    return true;
  }

  bool set_boolean(const json_column& column, bool boolean, std::string_view text, frame_builder& into) {
    if (!boolean || (text != "true" && text != "false"))
      return fail(column, errc::field_type, "not true or false", text);
    into.set_boolean(column.index, text == "true");
    return true;
  }

  bool set_time(const json_column& column, std::string_view text, std::string_view raw, frame_builder& into) {
    std::int64_t value = 0;
    if (time_to_microseconds(text, value) != conversion::done)
      return fail(column, errc::field_type, "not an RFC 3339 time", raw);
    return set_timestamp(column, value, into);
  }

  bool set_epoch(const json_column& column, bool number, std::string_view text, frame_builder& into) {
    std::int64_t value = 0;
    const auto outcome = number ? epoch_to_microseconds(text, value) : conversion::wrong_type;
    if (outcome == conversion::wrong_type)
      return fail(column, errc::field_type, "not a time", text);
    if (outcome == conversion::wrong_size)
      return fail(column, errc::field_range, "too large for epoch seconds or milliseconds", text);
    return set_timestamp(column, value, into);
  }

  bool set_timestamp(const json_column& column, std::int64_t value, frame_builder& into) {
    if (column.index == timestamp_column_)
      timestamp_ = value;
    into.set_integer(column.index, value);
    return true;
  }

  bool set_latency(const json_column& column, wall_time arrived, frame_builder& into) {
    if (!timestamp_)
      return set_absent(column, into);
    const std::int64_t latency = arrived.time_since_epoch().count() - *timestamp_;
    if (column.type == column_type::real)
      into.set_real(column.index, static_cast<double>(latency) / 1000);
    else
      into.set_integer(column.index, latency / 1000);
    return true;
  }

  std::vector<topic_pattern> patterns_;
  std::vector<json_column> columns_;
  json_document document_;
  std::size_t timestamp_column_ = none; // the first one from the payload

  // Of the message in work.
  std::size_t pattern_ = 0;
  std::vector<std::string_view> levels_;
  std::optional<std::int64_t> timestamp_;
  error failure_;
};

} // namespace

std::unique_ptr<decoder> make_json_decoder(const config::ingest& pipeline) {
  return std::make_unique<json_decoder>(pipeline);
}

} // namespace penstock::decode
