#include "record/frame.hpp"

#include "core/assert.hpp"
#include "core/partition_hash.hpp"
#include "record/frame.capnp.h"

#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace penstock::record {

namespace {

constexpr std::size_t word_bytes = sizeof(capnp::word);
constexpr std::uint16_t version_known = 1;

std::size_t words_for(std::size_t bytes) { return (bytes + word_bytes - 1) / word_bytes; }

bool is_string(column_type type) {
  return type == column_type::text || type == column_type::json || type == column_type::bytes;
}

bool is_integer(column_type type) { return type == column_type::integer || type == column_type::timestamp; }

std::int64_t microseconds_of(wall_time time) { return time.time_since_epoch().count(); }

kj::ArrayPtr<const kj::byte> bytes_of(const std::string& text) {
  return kj::StringPtr(text.c_str(), text.size()).asBytes();
}

/// Fills memory that may hold anything: the padding up to the next word must be zero.
void copy_padded(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0)
    return;
  auto* target = static_cast<char*>(to);
  std::memset(target + (words_for(bytes) - 1) * word_bytes, 0, word_bytes);
  std::memcpy(target, from, bytes);
}

/// The elements of a list lie in the message as in a little-endian array.
template <class ListBuilder, class T>
void fill(ListBuilder list, const std::vector<T>& values) {
  const auto raw = capnp::toAny(list).asReader().getRawBytes();
  copy_padded(const_cast<kj::byte*>(raw.begin()), values.data(), values.size() * sizeof(T));
}

void fill(capnp::Data::Builder data, const void* from) { copy_padded(data.begin(), from, data.size()); }

} // namespace

// ---- builder

std::string_view frame_builder::strings::at(std::size_t row) const {
  const std::size_t begin = row == 0 ? 0 : ends[row - 1];
  return std::string_view{bytes}.substr(begin, ends[row] - begin);
}

void frame_builder::strings::append(std::string_view value) {
  bytes.append(value);
  ends.push_back(static_cast<std::uint32_t>(bytes.size()));
}

void frame_builder::strings::truncate(std::size_t rows) {
  if (ends.size() <= rows)
    return;
  ends.resize(rows);
  bytes.resize(rows == 0 ? 0 : ends.back());
}

void frame_builder::strings::clear() {
  bytes.clear();
  ends.clear();
}

std::size_t frame_builder::column::size() const {
  switch (type) {
  case column_type::integer:
  case column_type::timestamp: return integers.size();
  case column_type::real: return reals.size();
  case column_type::boolean: return booleans.size();
  default: return values.ends.size();
  }
}

frame_builder::frame_builder(const std::vector<column_type>& types) {
  columns_.reserve(types.size());
  for (const auto type : types)
    columns_.push_back({type, {}, {}, {}, {}, {}});
}

void frame_builder::set_null(std::size_t index) {
  auto& column = columns_[index];
  const std::size_t row = rows();
  if (column.nulls.size() <= row / 8)
    column.nulls.resize(row / 8 + 1);
  column.nulls[row / 8] = static_cast<std::uint8_t>(column.nulls[row / 8] | (1u << (row % 8)));
  if (is_string(column.type))
    column.values.append({});
  else if (is_integer(column.type))
    column.integers.push_back(0);
  else if (column.type == column_type::real)
    column.reals.push_back(0);
  else
    column.booleans.push_back(0);
}

void frame_builder::set_integer(std::size_t index, std::int64_t value) {
  auto& column = columns_[index];
  assert_that(is_integer(column.type), "an integer goes into an integer or timestamp column");
  column.integers.push_back(value);
}

void frame_builder::set_real(std::size_t index, double value) {
  auto& column = columns_[index];
  assert_that(column.type == column_type::real, "a real goes into a real column");
  column.reals.push_back(value);
}

void frame_builder::set_boolean(std::size_t index, bool value) {
  auto& column = columns_[index];
  assert_that(column.type == column_type::boolean, "a boolean goes into a boolean column");
  column.booleans.push_back(value ? 1 : 0);
}

void frame_builder::set_string(std::size_t index, std::string_view value) {
  auto& column = columns_[index];
  assert_that(is_string(column.type), "a string goes into a text, json or bytes column");
  column.values.append(value);
}

void frame_builder::keep_messages(bool keep) {
  assert_that(messages() == 0, "all rows keep their messages, or none");
  keeps_messages_ = keep;
}

void frame_builder::commit_row(std::string_view topic, std::string_view payload, wall_time arrived) {
  const std::size_t size = rows() + 1;
  for (const auto& column : columns_)
    assert_that(column.size() == size, "every column of a row is set once");
  if (keeps_messages_) {
    topics_.append(topic);
    payloads_.append(payload);
  } else {
    left_out_ += topic.size() + payload.size() + 2 * sizeof(std::uint32_t);
  }
  arrived_.push_back(microseconds_of(arrived));
}

void frame_builder::discard_row() {
  const std::size_t size = rows();
  for (auto& column : columns_) {
    column.values.truncate(size);
    column.integers.resize(std::min(column.integers.size(), size));
    column.reals.resize(std::min(column.reals.size(), size));
    column.booleans.resize(std::min(column.booleans.size(), size));
    if (column.nulls.size() > size / 8) {
      column.nulls.resize(size / 8 + 1);
      column.nulls.back() = static_cast<std::uint8_t>(column.nulls.back() & ((1u << (size % 8)) - 1));
      while (!column.nulls.empty() && column.nulls.back() == 0)
        column.nulls.pop_back();
    }
  }
}

void frame_builder::add_letter(std::string_view topic, std::string_view payload, const error& reason,
                               wall_time arrived) {
  assert_that(disposition_of(reason.code) == disposition::dead_letter, "a letter has a dead-letter code");
  for (const auto& column : columns_)
    assert_that(column.size() == rows(), "no row is open when a letter is added");
  letters_.push_back({std::string{topic}, std::string{payload}, reason.code, reason.message, arrived});
  letters_words_ += words_for(topic.size()) + words_for(payload.size()) + words_for(reason.message.size() + 1);
}

std::uint64_t frame_builder::hash_of(std::span<const std::size_t> key, std::size_t row) const {
  partition_hash hash;
  for (const auto index : key) {
    const auto& column = columns_[index];
    if (is_string(column.type))
      hash.add(column.values.at(row));
    else if (is_integer(column.type))
      hash.add(static_cast<std::uint64_t>(column.integers[row]));
    else if (column.type == column_type::real)
      hash.add(std::bit_cast<std::uint64_t>(column.reals[row] + 0.0)); // -0.0 is 0.0
    else
      hash.add(std::uint64_t{column.booleans[row]});
  }
  return hash.value();
}

void frame_builder::copy_row(std::size_t row, frame_builder& to) const {
  for (std::size_t index = 0; index < columns_.size(); ++index) {
    const auto& column = columns_[index];
    if (column.null(row))
      to.set_null(index);
    else if (is_string(column.type))
      to.set_string(index, column.values.at(row));
    else if (is_integer(column.type))
      to.set_integer(index, column.integers[row]);
    else if (column.type == column_type::real)
      to.set_real(index, column.reals[row]);
    else
      to.set_boolean(index, column.booleans[row] != 0);
  }
  const wall_time arrived{std::chrono::microseconds{arrived_[row]}};
  if (to.keeps_messages_)
    to.commit_row(topics_.at(row), payloads_.at(row), arrived);
  else
    to.commit_row({}, {}, arrived);
}

void frame_builder::deal(std::span<const std::size_t> key, std::span<const std::unique_ptr<frame_builder>> lanes) {
  for (const auto& lane : lanes)
    assert_that(keeps_messages_ || !lane->keeps_messages_, "what was left out can be dealt to nobody");
  for (std::size_t row = 0; row < rows(); ++row)
    copy_row(row, *lanes[hash_of(key, row) % lanes.size()]);
  for (const auto& each : letters_) {
    partition_hash hash;
    hash.add(each.topic);
    hash.add(each.payload);
    lanes[hash.value() % lanes.size()]->add_letter(each.topic, each.payload, {each.code, each.reason},
                                                   wall_time{each.arrived});
  }
  clear();
}

void frame_builder::clear() {
  for (auto& column : columns_) {
    column.nulls.clear();
    column.integers.clear();
    column.reals.clear();
    column.booleans.clear();
    column.values.clear();
  }
  left_out_ = 0;
  topics_.clear();
  payloads_.clear();
  arrived_.clear();
  letters_.clear();
  letters_words_ = 0;
}

// ---- seal

/// Lays a builder's content out as a message of one segment. The structs and everything small come first, in memory
/// that is zeroed as Cap'n Proto expects; the long lists come last, in memory that is written once only.
class frame_sealer {
public:
  explicit frame_sealer(const frame_builder& from) : from_(from), with_messages_(from.keeps_messages_) {}

  std::size_t structure_words(std::string_view pipeline) const {
    std::size_t words = 1 + capnp::sizeInWords<schema::Frame>() + words_for(pipeline.size() + 1);
    words += 1 + from_.columns_.size() * capnp::sizeInWords<schema::Column>();
    words += with_messages_ ? std::size_t{2} * capnp::sizeInWords<schema::Strings>() : 0;
    for (const auto& column : from_.columns_)
      words += is_string(column.type) ? capnp::sizeInWords<schema::Strings>() : 0;
    words += 1 + from_.letters_.size() * capnp::sizeInWords<schema::Letter>();
    return words + from_.letters_words_;
  }

  std::size_t bulk_words() const {
    std::size_t words = from_.arrived_.size();
    if (with_messages_)
      words += words_of(from_.topics_) + words_of(from_.payloads_);
    for (const auto& column : from_.columns_) {
      words += column.nulls.empty() ? 0 : words_for(nulls_bytes());
      words +=
        column.integers.size() + column.reals.size() + words_for(column.booleans.size()) + words_of(column.values);
    }
    return words;
  }

  void write(schema::Frame::Builder root) const {
    auto columns = root.initColumns(static_cast<unsigned>(from_.columns_.size()));
    if (with_messages_) {
      root.initTopics();
      root.initPayloads();
    }
    for (unsigned i = 0; i < columns.size(); ++i)
      if (is_string(from_.columns_[i].type))
        columns[i].initStrings();
    write_letters(root.initLetters(static_cast<unsigned>(from_.letters_.size())));
    if (with_messages_) {
      write(from_.topics_, root.getTopics());
      write(from_.payloads_, root.getPayloads());
    }
    fill(root.initArrived(static_cast<unsigned>(from_.arrived_.size())), from_.arrived_);
    for (unsigned i = 0; i < columns.size(); ++i)
      write(from_.columns_[i], columns[i]);
  }

private:
  std::size_t nulls_bytes() const { return (from_.rows() + 7) / 8; }

  static std::size_t words_of(const frame_builder::strings& strings) {
    return words_for(strings.bytes.size()) + words_for(strings.ends.size() * sizeof(std::uint32_t));
  }

  static void write(const frame_builder::strings& from, schema::Strings::Builder to) {
    fill(to.initBytes(static_cast<unsigned>(from.bytes.size())), from.bytes.data());
    fill(to.initEnds(static_cast<unsigned>(from.ends.size())), from.ends);
  }

  void write(const frame_builder::column& from, schema::Column::Builder to) const {
    if (!from.nulls.empty()) {
      auto nulls = to.initNulls(static_cast<unsigned>(nulls_bytes()));
      std::memset(nulls.begin(), 0, words_for(nulls.size()) * word_bytes);
      std::memcpy(nulls.begin(), from.nulls.data(), from.nulls.size());
    }
    const auto size = static_cast<unsigned>(from.size());
    if (is_string(from.type))
      write(from.values, to.getStrings());
    else if (is_integer(from.type))
      fill(to.initIntegers(size), from.integers);
    else if (from.type == column_type::real)
      fill(to.initReals(size), from.reals);
    else
      fill(to.initBooleans(size), from.booleans.data());
  }

  void write_letters(capnp::List<schema::Letter>::Builder to) const {
    for (unsigned i = 0; i < to.size(); ++i) {
      const auto& letter = from_.letters_[i];
      to[i].setTopic(bytes_of(letter.topic));
      to[i].setPayload(bytes_of(letter.payload));
      to[i].setCode(static_cast<std::uint16_t>(letter.code));
      to[i].setReason(kj::StringPtr(letter.reason.c_str(), letter.reason.size()));
      to[i].setArrived(microseconds_of(letter.arrived));
    }
  }

  const frame_builder& from_;
  bool with_messages_;
};

std::size_t frame_builder::bytes() const {
  const frame_sealer sealer{*this};
  return (1 + sealer.structure_words({}) + sealer.bulk_words()) * word_bytes + left_out_;
}

frame frame_builder::seal(std::string_view pipeline, std::uint32_t shard, std::uint64_t epoch, std::uint64_t chunk) {
  for (const auto& column : columns_)
    assert_that(column.size() == rows(), "no row is open when a frame is sealed");
  const frame_sealer sealer{*this};
  const std::size_t structure = sealer.structure_words(pipeline);
  const std::size_t size = structure + sealer.bulk_words();
  assert_that((1 + size) * word_bytes <= frame::bytes_max, "a frame fits frame::bytes_max");
  auto words = kj::heapArray<capnp::word>(1 + size);
  std::memset(words.begin(), 0, (1 + structure) * word_bytes);
  // The stream format's header: one segment, so many words.
  const std::uint32_t header[2] = {0, static_cast<std::uint32_t>(size)};
  std::memcpy(words.begin(), header, sizeof header);
  {
    capnp::FlatMessageBuilder message{words.slice(1, words.size())};
    auto root = message.initRoot<schema::Frame>();
    auto name = root.initPipeline(static_cast<unsigned>(pipeline.size()));
    std::copy(pipeline.begin(), pipeline.end(), name.begin());
    root.setShard(shard);
    root.setEpoch(epoch);
    root.setChunk(chunk);
    root.setRows(static_cast<std::uint32_t>(rows()));
    sealer.write(root);
    assert_that(message.sizeInWords() == size, "a frame's size is known before it is written");
  }
  clear();
  return frame{std::move(words)};
}

// ---- view

/// Checks a frame and takes it apart. Every object of the message is read once, so that a traversal limit of the
/// message's own size refuses one whose pointers overlap.
class frame_opener {
public:
  static result<std::unique_ptr<frame_view>> open(frame source, std::span<const column_type> types) {
    const auto words = source.words();
    if (words.size() == 0 || source.bytes() > frame::bytes_max)
      return damaged("its size");
    try {
      capnp::ReaderOptions options;
      options.traversalLimitInWords = words.size() + 1024;
      capnp::FlatArrayMessageReader reader{words, options};
      if (reader.getEnd() != words.end())
        return damaged("its length");
      frame_opener opener{std::move(source)};
      if (const char* what = opener.read(reader.getRoot<schema::Frame>(), types))
        return damaged(what);
      return std::move(opener.view_);
    } catch (const kj::Exception& thrown) {
      return damaged(thrown.getDescription().cStr());
    }
  }

private:
  explicit frame_opener(frame source) : view_(new frame_view) { view_->source_ = std::move(source); }

  static error damaged(const char* what) {
    return {errc::payload_malformed, std::string{"not a frame of this pipeline: "} + what};
  }

  /// Nullptr, or what is wrong.
  const char* read(schema::Frame::Reader root, std::span<const column_type> types) {
    if (root.getVersion() != version_known)
      return "its version";
    const auto pipeline = root.getPipeline();
    view_->pipeline_ = {pipeline.begin(), pipeline.size()};
    view_->shard_ = root.getShard();
    view_->epoch_ = root.getEpoch();
    view_->chunk_ = root.getChunk();
    view_->rows_ = root.getRows();
    if (root.hasTopics() != root.hasPayloads())
      return "its messages";
    if (root.hasTopics() && !read(root.getTopics(), view_->topics_))
      return "its topics";
    if (root.hasPayloads() && !read(root.getPayloads(), view_->payloads_))
      return "its payloads";
    if (!elements(root.getArrived(), capnp::ElementSize::EIGHT_BYTES, view_->arrived_))
      return "its times of arrival";
    const auto columns = root.getColumns();
    if (columns.size() != types.size())
      return "the number of its columns";
    view_->columns_.reserve(types.size());
    for (unsigned i = 0; i < columns.size(); ++i)
      if (!read(columns[i], types[i]))
        return "one of its columns";
    return read_letters(root.getLetters()) ? nullptr : "one of its letters";
  }

  bool read(schema::Column::Reader from, column_type type) {
    auto& to = view_->columns_.emplace_back();
    const std::size_t rows = view_->rows_;
    const auto nulls = from.getNulls();
    if (nulls.size() != 0) {
      if (nulls.size() < (rows + 7) / 8)
        return false;
      to.nulls_ = nulls.begin();
    }
    if (is_string(type))
      return from.isStrings() && read(from.getStrings(), to.strings_);
    if (is_integer(type))
      return from.isIntegers() && elements(from.getIntegers(), capnp::ElementSize::EIGHT_BYTES, to.integers_);
    if (type == column_type::real)
      return from.isReals() && elements(from.getReals(), capnp::ElementSize::EIGHT_BYTES, to.reals_);
    if (!from.isBooleans())
      return false;
    const auto booleans = from.getBooleans();
    to.booleans_ = booleans.begin();
    return booleans.size() == rows;
  }

  bool read(schema::Strings::Reader from, strings_view& to) {
    const auto bytes = from.getBytes();
    const std::uint32_t* ends = nullptr;
    if (!elements(from.getEnds(), capnp::ElementSize::FOUR_BYTES, ends))
      return false;
    std::uint32_t begin = 0;
    for (std::size_t row = 0; row < view_->rows_; ++row) {
      if (ends[row] < begin)
        return false;
      begin = ends[row];
    }
    to = {reinterpret_cast<const char*>(bytes.begin()), {ends, view_->rows_}};
    return begin == bytes.size();
  }

  /// The list's elements as an array of one element a row. A list of another element size, which Cap'n Proto would read
  /// as an upgraded one, is refused.
  template <class List, class T>
  bool elements(List list, capnp::ElementSize size, const T*& to) const {
    auto any = capnp::toAny(list);
    if (any.size() != view_->rows_)
      return false;
    if (any.size() == 0)
      return true;
    to = reinterpret_cast<const T*>(any.getRawBytes().begin());
    return any.getElementSize() == size;
  }

  bool read_letters(capnp::List<schema::Letter>::Reader letters) {
    view_->letters_.reserve(letters.size());
    for (const auto letter : letters) {
      const auto code = static_cast<errc>(letter.getCode());
      if (disposition_of(code) != disposition::dead_letter)
        return false;
      const auto topic = letter.getTopic();
      const auto payload = letter.getPayload();
      const auto reason = letter.getReason();
      view_->letters_.push_back({{reinterpret_cast<const char*>(topic.begin()), topic.size()},
                                 {reinterpret_cast<const char*>(payload.begin()), payload.size()},
                                 code,
                                 {reason.begin(), reason.size()},
                                 wall_time{std::chrono::microseconds{letter.getArrived()}}});
    }
    return true;
  }

  std::unique_ptr<frame_view> view_;
};

result<std::unique_ptr<frame_view>> frame_view::open(frame source, std::span<const column_type> types) {
  return frame_opener::open(std::move(source), types);
}

} // namespace penstock::record
