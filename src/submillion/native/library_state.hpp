// What every library of kernels has: error messages, and the processor state that it asks the system for.
#pragma once
#include <stdexcept>
#include <string>
#ifdef SM_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace submillion {
namespace {

thread_local std::string last_error;

// Runs `function`. Returns null, or the message of the exception it raised.
template <class Function>
const char* catch_errors(Function&& function) {
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    last_error = error.what();
    return last_error.c_str();
  }
}

// Requests the processor state that these kernels need from the operating system.
void request_processor_state() {
#ifdef SM_AMX
  // Linux grants AMX tile registers on request: ARCH_REQ_XCOMP_PERM (0x1023), XFEATURE_XTILEDATA (18).
  if (syscall(SYS_arch_prctl, 0x1023, 18) != 0)
    throw std::runtime_error("the system does not grant tile registers");
#endif
}

}  // namespace
}  // namespace submillion
