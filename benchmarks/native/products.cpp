// The product kernels of the packed execution beside libxsmm's and oneDNN's, on an encoder's shapes, in one thread.
//
//   cmake -S benchmarks/native -B FOLDER && cmake --build FOLDER --target measure
//
// runs it once for each kind of processor that this one is. libxsmm (libxsmm-dev of Debian) and oneDNN (libdnnl-dev,
// with micro-kernels from Debian 13 on) are measured where CMake finds them; -DCMAKE_PREFIX_PATH=... leads to others.
//
// All rows of a shape work in turn, round by round, and with them a loop of multiply-adds on registers, so that each is
// compared with what the processor could do in that same round. The clock is the thread's processor time. Weights are
// packed beforehand and lie in so many copies, taken in turn, that none is found in a cache; activations are those of
// one group. All numbers are multiples of 1/16, so every sum is exact and results must agree to the last bit.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "libraries.hpp"
#include "processor.hpp"

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

// Measures contenders in turn and prints a row for each.
void measure(const std::string& shape, double flops, const std::vector<Contender>& contenders, int rounds) {
  std::vector<std::vector<double>> speeds(contenders.size()), shares(contenders.size());
  std::vector<int> calls(contenders.size());
  for (size_t c = 0; c < contenders.size(); c++) {
    contenders[c].run(0);
    double began = cpu_seconds();
    contenders[c].run(1);
    calls[c] = std::max(1, (int)std::ceil(0.03 / (cpu_seconds() - began)));
  }
  std::vector<double> peaks;
  int copy = 0;
  for (int round = 0; round < rounds; round++) {
    double began = cpu_seconds();
    double peak = on_registers();
    peak /= cpu_seconds() - began;
    peaks.push_back(peak * 1e-9);
    for (size_t c = 0; c < contenders.size(); c++) {
      began = cpu_seconds();
      for (int i = 0; i < calls[c]; i++) contenders[c].run(copy + i);
      double speed = flops * calls[c] / (cpu_seconds() - began);
      speeds[c].push_back(speed * 1e-9), shares[c].push_back(speed / peak);
    }
    copy += *std::max_element(calls.begin(), calls.end());
  }
  auto row = [&](const std::string& name, const std::vector<double>& values, double share) {
    auto [low, high] = std::minmax_element(values.begin(), values.end());
    printf("| %s | %s | %.1f (%.1f to %.1f) | %.0f %% |\n", shape.c_str(), name.c_str(), median(values), *low, *high,
           100 * share);
  };
  row("multiply-adds on registers", peaks, 1);
  for (size_t c = 0; c < contenders.size(); c++) row(contenders[c].name, speeds[c], median(shares[c]));
  fflush(stdout);
}

// Leaves out whatever differs from plain sums.
void check(const std::vector<float>& plain, const std::vector<float>& plain_whole, std::vector<Contender>& contenders) {
  std::vector<float> result(plain.size());
  for (auto it = contenders.begin(); it != contenders.end();) {
    it->run(0);
    it->result(result.data());
    if (result == (it->whole ? plain_whole : plain)) {
      ++it;
    } else {
      fprintf(stderr, "%s: wrong results, left out\n", it->name.c_str());
      it = contenders.erase(it);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? atoi(arguments[1]) : 15;
  const std::string only = count > 2 ? arguments[2] : "";
  if (const char* missing = not_here()) {
    printf("%s: %s\n", PATH_NAME, missing);
    return 0;
  }
  set_up();
  printf("%s, %s\n\n| shape | kernel | GFLOP/s: median (least to most) | of the registers' |\n|---|---|---|---|\n",
         PATH_NAME, sizeof(T) == 2 ? "bfloat16" : "float32");
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
    std::vector<Contender> contenders = of_matrix(p);
    check(plain_result(p, false), plain_result(p, true), contenders);
    measure(shape.name, 2.0 * p.rows * p.inner * p.columns, contenders, rounds);
  }
  const char* name = "attention, 53 tokens, head of 64";
  if (std::string(name).find(only) != std::string::npos) {
    Attention attention;
    std::vector<Contender> contenders = of_attention(attention);
    check(attention.plain(), {}, contenders);
    measure(name, HEADS * 2.0 * 2 * TOKENS * TOKENS * HEAD, contenders, rounds);
  }
}
