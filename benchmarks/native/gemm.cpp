// Benchmark of the package's GEMM against libxsmm and oneDNN, on the shapes of an encoder, in one thread.
//
//   cmake -S benchmarks/native -B FOLDER && cmake --build FOLDER --target measure
//
// runs it with every build that this processor supports. libxsmm (Debian: libxsmm-dev) and oneDNN
// (libdnnl-dev, with microkernels from Debian 13 on) are measured if CMake finds them;
// -DCMAKE_PREFIX_PATH=... selects other versions.
//
// The implementations run in turn, round by round, together with a loop of multiply-adds on registers, so
// that each is compared with the peak rate of the same round. The clock is the thread's CPU time. Weights are
// packed beforehand, in enough copies, used in turn, that none is in a cache; activations are those of one
// group. All numbers are multiples of 1/16, so every sum is exact and all results must be bit-identical.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "libraries.hpp"
#include "processor.hpp"

namespace submillion {
namespace {

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Measures contenders in turn and prints a table row for each.
void measure(const std::string& shape, double flops, const std::vector<Contender>& contenders, int rounds) {
  std::vector<std::vector<double>> speeds(contenders.size()), shares(contenders.size());
  std::vector<int> calls(contenders.size());
  for (size_t c = 0; c < contenders.size(); c++) {
    contenders[c].run(0);
    double start = cpu_seconds();
    contenders[c].run(1);
    calls[c] = std::max(1, (int)std::ceil(0.03 / (cpu_seconds() - start)));
  }
  std::vector<double> peaks;
  int copy = 0;
  for (int round = 0; round < rounds; round++) {
    double start = cpu_seconds();
    double peak = register_fma_flops();
    peak /= cpu_seconds() - start;
    peaks.push_back(peak * 1e-9);
    for (size_t c = 0; c < contenders.size(); c++) {
      start = cpu_seconds();
      for (int i = 0; i < calls[c]; i++) contenders[c].run(copy + i);
      double speed = flops * calls[c] / (cpu_seconds() - start);
      speeds[c].push_back(speed * 1e-9), shares[c].push_back(speed / peak);
    }
    copy += *std::max_element(calls.begin(), calls.end());
  }
  auto row = [&](const std::string& name, const std::vector<double>& values, double share) {
    auto [low, high] = std::minmax_element(values.begin(), values.end());
    printf("| %s | %s | %.1f (%.1f to %.1f) | %.0f %% |\n", shape.c_str(), name.c_str(), median(values), *low,
           *high, 100 * share);
  };
  row("multiply-adds on registers", peaks, 1);
  for (size_t c = 0; c < contenders.size(); c++) row(contenders[c].name, speeds[c], median(shares[c]));
  fflush(stdout);
}

// Removes contenders whose result differs from the reference.
void check(const std::vector<float>& reference, const std::vector<float>& reference_fused,
           std::vector<Contender>& contenders) {
  std::vector<float> result(reference.size());
  for (auto it = contenders.begin(); it != contenders.end();) {
    it->run(0);
    it->result(result.data());
    if (result == (it->fused ? reference_fused : reference)) {
      ++it;
    } else {
      fprintf(stderr, "%s: removed, its results are wrong\n", it->name.c_str());
      it = contenders.erase(it);
    }
  }
}

int run(int count, char** arguments) {
  const int rounds = count > 1 ? atoi(arguments[1]) : 15;
  const std::string only = count > 2 ? arguments[2] : "";
  if (const char* reason = unsupported_reason()) {
    printf("%s: %s\n", BUILD_NAME, reason);
    return 0;
  }
  limit_libraries();
  printf(
      "%s, %s\n\n"
      "| shape | kernel | GFLOP/s: median (min to max) | of the peak |\n"
      "|---|---|---|---|\n",
      BUILD_NAME, sizeof(elem_t) == 2 ? "bfloat16" : "float32");
  const Shape shapes[] = {{"one block 32 x 256 x 32, in the cache", 32, 256, 32, true},
                          {"512 x 768 x 2304", 512, 768, 2304, false},
                          {"512 x 768 x 768", 512, 768, 768, false},
                          {"512 x 768 x 3072", 512, 768, 3072, false},
                          {"512 x 3072 x 768", 512, 3072, 768, false},
                          {"512 x 384 x 1152", 512, 384, 1152, false},
                          {"512 x 384 x 384", 512, 384, 384, false},
                          {"512 x 384 x 1536", 512, 384, 1536, false},
                          {"512 x 1536 x 384", 512, 1536, 384, false}};
  for (const Shape& shape : shapes) {
    if (std::string(shape.name).find(only) == std::string::npos) continue;
    Problem p(shape);
    std::vector<Contender> contenders = gemm_contenders(p);
    check(reference_result(p, false), reference_result(p, true), contenders);
    measure(shape.name, 2.0 * p.rows * p.inner * p.columns, contenders, rounds);
  }
  const char* name = "attention, 53 tokens, head of 64";
  if (std::string(name).find(only) != std::string::npos) {
    Attention attention;
    std::vector<Contender> contenders = attention_contenders(attention);
    check(attention.reference(), {}, contenders);
    measure(name, HEADS * 2.0 * 2 * TOKENS * TOKENS * HEAD, contenders, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace submillion

int main(int count, char** arguments) { return submillion::run(count, arguments); }
