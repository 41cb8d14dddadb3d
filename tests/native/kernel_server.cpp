// Runs the kernels of a library for another process, whose memory it mirrors: calls arrive on standard input.
//
//     kernel_server LIBRARY
//
// A message is integers of 64 bits and bytes:
//   call:  regions, for each its address and size in the caller, its bytes, the number and the offsets of the
//          pointers in it; size and bytes of the function's name; number of arguments, the arguments; whether
//          the result is text
//   reply: the result; for a result that is text its size + 1 and bytes, or 0; the number of changed regions,
//   and
//          address, size and bytes of each
// Pointers and arguments that are the address of a region are replaced by that of its mirror.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

struct Region {
  char* mirror = nullptr;
  size_t capacity = 0, size = 0;
  std::vector<char> before;  // as the caller knows it
};
std::map<uint64_t, Region> regions;  // by address in the caller

void read_bytes(void* to, size_t size) {
  if (size && fread(to, size, 1, stdin) != 1) exit(feof(stdin) ? 0 : 1);
}
uint64_t read_number() {
  uint64_t value;
  read_bytes(&value, sizeof value);
  return value;
}
void write_number(uint64_t value) { fwrite(&value, sizeof value, 1, stdout); }

uint64_t mirrored(uint64_t address) {
  auto found = regions.find(address);
  return found == regions.end() ? address : (uint64_t)found->second.mirror;
}

void read_regions() {
  std::map<uint64_t, std::vector<uint64_t>> pointers;  // by region: offsets
  for (uint64_t count = read_number(); count; count--) {
    const uint64_t address = read_number();
    Region& region = regions[address];
    region.size = read_number();
    if (region.size > region.capacity) {  // what the kernels still hold of the old mirror stays
      region.capacity = (region.size + 63) / 64 * 64;
      region.mirror = (char*)aligned_alloc(64, region.capacity);
    }
    read_bytes(region.mirror, region.size);
    for (uint64_t left = read_number(); left; left--) pointers[address].push_back(read_number());
  }
  for (const auto& [address, offsets] : pointers)
    for (uint64_t offset : offsets) {
      uint64_t* pointer = (uint64_t*)(regions[address].mirror + offset);
      *pointer = mirrored(*pointer);
    }
  for (auto& [address, region] : regions) region.before.assign(region.mirror, region.mirror + region.size);
}

void write_changed_regions() {
  std::vector<uint64_t> changed;
  for (const auto& [address, region] : regions)
    if (memcmp(region.before.data(), region.mirror, region.size) != 0) changed.push_back(address);
  write_number(changed.size());
  for (uint64_t address : changed) {
    const Region& region = regions[address];
    write_number(address), write_number(region.size);
    fwrite(region.mirror, region.size, 1, stdout);
  }
}

// Calls a function of the interface. Arguments are integers and pointers, which go to the same registers.
void call(void* library) {
  read_regions();
  std::string name(read_number(), '\0');
  read_bytes(name.data(), name.size());
  void* function = dlsym(library, name.c_str());
  if (!function) fprintf(stderr, "no function %s\n", name.c_str()), exit(2);
  uint64_t a[8] = {};
  const uint64_t count = read_number();
  if (count > 8) fprintf(stderr, "%s has more than 8 arguments\n", name.c_str()), exit(2);
  for (uint64_t i = 0; i < count; i++) a[i] = mirrored(read_number());
  const char* text = nullptr;
  if (name == "sm_dropout_mask") {
    const float scale =
        ((float (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))function)(a[0], a[1], a[2], a[3], a[4]);
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    write_number(bits);
  } else {
    using Function =
        uint64_t (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
    const uint64_t result = ((Function)function)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    write_number(result);
    text = (const char*)result;
  }
  const bool returns_text = read_number() != 0;
  if (!returns_text || !text) {
    write_number(0);
  } else {
    write_number(strlen(text) + 1), fwrite(text, strlen(text), 1, stdout);
  }
  write_changed_regions();
  fflush(stdout);
}

}  // namespace

int main(int, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
  for (;;) call(library);
}
