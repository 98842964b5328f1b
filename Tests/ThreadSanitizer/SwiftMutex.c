// Tells the thread sanitizer what happens when two threads want a Swift `Mutex` at once.
//
// A free mutex is taken and left by atomics in code that is compiled with the sanitizer. When it is contended the Swift
// library, which is not, lets the kernel pass the mutex on (FUTEX_LOCK_PI), and nothing that the sanitizer sees orders the
// two threads: it would call everything a race that the mutex guards. This is preloaded and stands before those two
// functions of the library; nothing is suppressed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// Methods of a struct that lies in memory: its address is Swift's `self`.
#define SELF __attribute__((swift_context)) void *self
typedef __attribute__((swiftcall)) void (*LockSlow)(uint32_t thread, SELF);
typedef __attribute__((swiftcall)) void (*UnlockSlow)(SELF);

__attribute__((swiftcall)) void lock_slow(uint32_t thread, SELF) __asm__(LOCK_SLOW);
__attribute__((swiftcall)) void unlock_slow(SELF) __asm__(UNLOCK_SLOW);

__attribute__((swiftcall)) void lock_slow(uint32_t thread, SELF) {
  ((LockSlow)dlsym(RTLD_NEXT, LOCK_SLOW))(thread, self);
  __tsan_acquire(self);
}

__attribute__((swiftcall)) void unlock_slow(SELF) {
  __tsan_release(self);
  ((UnlockSlow)dlsym(RTLD_NEXT, UNLOCK_SLOW))(self);
}
