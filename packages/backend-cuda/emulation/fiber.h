// A function that can be suspended in the middle and resumed later, on a stack of its own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__x86_64__)
// Saves the callee's registers and stack pointer in *from and goes on from those in to.
extern "C" void emulated_switch(void** from, void* to);
asm(R"(.text
.weak emulated_switch
.type emulated_switch, @function
emulated_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
#endif

class Fiber {
 public:
  static constexpr size_t stack_size = 64 * 1024;

  Fiber() = default;
  Fiber(Fiber&& other) noexcept : stack_(other.stack_) { other.stack_ = nullptr; }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber() { free(stack_); }

  /// The next `resume` starts `body`.
  void start(void (*body)()) {
    if (!stack_) stack_ = static_cast<char*>(aligned_alloc(64, stack_size));
    body_ = body;
    finished_ = false;
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack_ + stack_size);
    *--top = nullptr;  // where `enter` would return to; leaves the stack aligned as it is after a call
    *--top = reinterpret_cast<void*>(enter);
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    own_ = top;
#else
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_;
    own_.uc_stack.ss_size = stack_size;
    own_.uc_link = nullptr;
    makecontext(&own_, enter, 0);
#endif
  }

  /// Runs until the function suspends itself or ends.
  void resume() {
    running() = this;
#if defined(__x86_64__)
    emulated_switch(&caller_, own_);
#else
    swapcontext(&caller_, &own_);
#endif
  }

  /// Called from within: back to whoever resumed.
  void suspend() {
#if defined(__x86_64__)
    emulated_switch(&own_, caller_);
#else
    swapcontext(&own_, &caller_);
#endif
  }

  bool finished() const { return finished_; }

 private:
  static Fiber*& running() {
    static Fiber* fiber;
    return fiber;
  }
  static void enter() {
    Fiber* self = running();
    self->body_();
    self->finished_ = true;
    self->suspend();
  }

  char* stack_ = nullptr;
  void (*body_)() = nullptr;
  bool finished_ = false;
#if defined(__x86_64__)
  void* own_ = nullptr;
  void* caller_ = nullptr;
#else
  ucontext_t own_, caller_;
#endif
};
