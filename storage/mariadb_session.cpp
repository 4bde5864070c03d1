#include "storage/mariadb_session.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <string>
#include <vector>

namespace penstock::storage::mariadb {

namespace {

using soci::details::exchange_type;

[[noreturn]] void cannot(const char* what) { throw soci::soci_error(std::string{"Penstock's session has no "} + what); }

/// SQL between parameters: pieces[0] :names[0] pieces[1] ...
struct parsed_sql {
  std::vector<std::string> pieces{""};
  std::vector<std::string> names;
};

parsed_sql parse(const std::string& sql) {
  const auto of_name = [](char letter) { return std::isalnum(static_cast<unsigned char>(letter)) || letter == '_'; };
  parsed_sql parsed;
  char quote = 0;
  for (std::size_t at = 0; at < sql.size(); ++at) {
    const char letter = sql[at];
    const bool parameter = quote == 0 && letter == ':' && at + 1 < sql.size() && of_name(sql[at + 1]);
    if (!parameter) {
      if (quote != 0)
        quote = letter == quote ? char{0} : quote;
      else if (letter == '\'' || letter == '"' || letter == '`')
        quote = letter;
      parsed.pieces.back() += letter;
      continue;
    }
    std::string name;
    while (at + 1 < sql.size() && of_name(sql[at + 1]))
      name += sql[++at];
    parsed.names.push_back(name);
    parsed.pieces.emplace_back();
  }
  return parsed;
}

class statement final : public soci::details::statement_backend {
public:
  explicit statement(MYSQL* handle) : handle_(handle) {}

  void alloc() override {}
  void clean_up() override { answer_.reset(); }
  void prepare(const std::string& sql, soci::details::statement_type) override { sql_ = parse(sql); }
  exec_fetch_result execute(int rows) override;
  exec_fetch_result fetch(int rows) override;
  long long get_affected_rows() override { return affected_; }
  int get_number_of_rows() override { return 1; }
  std::string get_parameter_name(int index) const override { return sql_.names.at(static_cast<std::size_t>(index)); }
  std::string rewrite_for_procedure_call(const std::string& sql) override { return sql; }
  int prepare_for_describe() override { cannot("description of columns"); }
  void describe_column(int, soci::data_type&, std::string&) override { cannot("description of columns"); }
  soci::details::standard_into_type_backend* make_into_type_backend() override;
  soci::details::standard_use_type_backend* make_use_type_backend() override;
  soci::details::vector_into_type_backend* make_vector_into_type_backend() override { cannot("vectors"); }
  soci::details::vector_use_type_backend* make_vector_use_type_backend() override { cannot("vectors"); }

  MYSQL* handle() const { return handle_; }
  /// From 1.
  void set_parameter(std::size_t position, std::string sql_literal);
  std::size_t position_of(const std::string& name) const;
  /// Of the current row; NULL has no data().
  std::string_view column(std::size_t position) const;

private:
  MYSQL* handle_;
  parsed_sql sql_;
  std::vector<std::string> literals_;
  std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> answer_{nullptr, mysql_free_result};
  MYSQL_ROW row_ = nullptr;
  long long affected_ = 0;
};

statement::exec_fetch_result statement::execute(int rows) {
  answer_.reset();
  if (literals_.size() != sql_.names.size())
    cannot("value for each parameter");
  std::string sql = sql_.pieces[0];
  for (std::size_t index = 0; index < literals_.size(); ++index)
    sql += literals_[index] + sql_.pieces[index + 1];
  if (mysql_real_query(handle_, sql.data(), sql.size()) == 0) {
    answer_.reset(mysql_store_result(handle_));
    affected_ = static_cast<long long>(mysql_affected_rows(handle_));
  }
  if (mysql_errno(handle_) != 0)
    throw session_failure({mysql_errno(handle_), mysql_sqlstate(handle_), mysql_error(handle_)});
  if (!answer_)
    return ef_no_data;
  return rows > 0 ? fetch(rows) : ef_success;
}

statement::exec_fetch_result statement::fetch(int) {
  row_ = answer_ ? mysql_fetch_row(answer_.get()) : nullptr;
  return row_ ? ef_success : ef_no_data;
}

void statement::set_parameter(std::size_t position, std::string sql_literal) {
  literals_.resize(std::max(literals_.size(), position));
  literals_[position - 1] = std::move(sql_literal);
}

std::size_t statement::position_of(const std::string& name) const {
  const auto found = std::find(sql_.names.begin(), sql_.names.end(), name);
  if (found == sql_.names.end())
    cannot("such parameter");
  return static_cast<std::size_t>(found - sql_.names.begin()) + 1;
}

std::string_view statement::column(std::size_t position) const {
  if (position > mysql_num_fields(answer_.get()))
    cannot("such column");
  const auto* value = row_[position - 1];
  return value ? std::string_view{value, mysql_fetch_lengths(answer_.get())[position - 1]} : std::string_view{};
}

class into final : public soci::details::standard_into_type_backend {
public:
  explicit into(statement& of) : of_(of) {}

  void define_by_pos(int& position, void* data, exchange_type type) override {
    position_ = static_cast<std::size_t>(position++);
    data_ = data;
    type_ = type;
    if (type != soci::details::x_stdstring && type != soci::details::x_long_long)
      cannot("such type");
  }
  void pre_fetch() override {}
  void post_fetch(bool got_data, bool, soci::indicator* indicator) override {
    if (!got_data)
      return;
    const auto value = of_.column(position_);
    const bool null = value.data() == nullptr;
    if (indicator)
      *indicator = null ? soci::i_null : soci::i_ok;
    else if (null)
      throw soci::soci_error("Null value fetched and no indicator defined.");
    if (null)
      return;
    if (type_ == soci::details::x_stdstring)
      *static_cast<std::string*>(data_) = value;
    else
      *static_cast<long long*>(data_) = number(value);
  }
  void clean_up() override {}

private:
  static long long number(std::string_view text) {
    long long value = 0;
    const auto* end = text.data() + text.size();
    const auto [at, failed] = std::from_chars(text.data(), end, value);
    if (failed != std::errc{} || at != end)
      throw soci::soci_error("Not a whole number.");
    return value;
  }
  statement& of_;
  std::size_t position_ = 0;
  void* data_ = nullptr;
  exchange_type type_ = soci::details::x_stdstring;
};

class use final : public soci::details::standard_use_type_backend {
public:
  explicit use(statement& of) : of_(of) {}

  void bind_by_pos(int& position, void* data, exchange_type type, bool) override {
    bind(static_cast<std::size_t>(position++), data, type);
  }
  void bind_by_name(const std::string& name, void* data, exchange_type type, bool) override {
    bind(of_.position_of(name), data, type);
  }
  void pre_use(const soci::indicator* indicator) override {
    if (indicator && *indicator == soci::i_null)
      of_.set_parameter(position_, "NULL");
    else if (type_ == soci::details::x_stdstring)
      of_.set_parameter(position_, literal(of_.handle(), *static_cast<const std::string*>(data_)));
    else
      of_.set_parameter(position_, std::to_string(*static_cast<const long long*>(data_)));
  }
  void post_use(bool, soci::indicator*) override {}
  void clean_up() override {}

private:
  void bind(std::size_t position, void* data, exchange_type type) {
    if (type != soci::details::x_stdstring && type != soci::details::x_long_long)
      cannot("such type");
    position_ = position;
    data_ = data;
    type_ = type;
  }
  statement& of_;
  std::size_t position_ = 0;
  void* data_ = nullptr;
  exchange_type type_ = soci::details::x_stdstring;
};

// SOCI owns what these return, and deletes it.
soci::details::standard_into_type_backend* statement::make_into_type_backend() {
  return std::make_unique<into>(*this).release();
}

soci::details::standard_use_type_backend* statement::make_use_type_backend() {
  return std::make_unique<use>(*this).release();
}

class backend final : public soci::details::session_backend {
public:
  explicit backend(MYSQL* handle) : handle_(handle) {}

  bool is_connected() override { return mysql_ping(handle_) == 0; }
  void begin() override { run("START TRANSACTION"); }
  void commit() override { run("COMMIT"); }
  void rollback() override { run("ROLLBACK"); }
  std::string get_dummy_from_table() const override { return {}; }
  std::string get_backend_name() const override { return "mysql"; }
  soci::details::statement_backend* make_statement_backend() override {
    return std::make_unique<statement>(handle_).release();
  }
  soci::details::rowid_backend* make_rowid_backend() override { cannot("row ids"); }
  soci::details::blob_backend* make_blob_backend() override { cannot("BLOBs"); }

private:
  void run(const char* sql) {
    if (mysql_query(handle_, sql) != 0)
      throw session_failure({mysql_errno(handle_), mysql_sqlstate(handle_), mysql_error(handle_)});
  }
  MYSQL* handle_;
};

/// SOCI makes sessions through factories, and remembers them.
class factory final : public soci::backend_factory {
public:
  explicit factory(MYSQL* handle) : handle_(handle) {}
  soci::details::session_backend* make_session(const soci::connection_parameters&) const override {
    return std::make_unique<backend>(handle_).release();
  }

private:
  MYSQL* handle_;
};

} // namespace

struct session::parts {
  explicit parts(MYSQL* handle) : sessions(handle), session(sessions, "") {}
  factory sessions;
  soci::session session;
};

session::session(MYSQL* handle) : parts_(std::make_unique<parts>(handle)) {}

session::~session() = default;

soci::session& session::get() { return parts_->session; }

} // namespace penstock::storage::mariadb
