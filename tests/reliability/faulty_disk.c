/* Loaded before the C library: writes and syncs of the store's write-ahead log fail when FAULT_FILE says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int told(int fd, char kind) {
  char link[64], name[4096], order[16] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, name, sizeof name - 1);
  if (size < 0) return 0;
  name[size] = 0;
  if (strstr(name, "store.db-wal") == NULL) return 0;
  const char *path = getenv("FAULT_FILE");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  size = read(file, order, sizeof order - 1);
  close(file);
  return size > 1 && order[0] == kind ? atoi(order + 1) : 0;
}

#define FAIL(fd, kind) do { int code = told(fd, kind); if (code) { errno = code; return -1; } } while (0)
#define REAL(type, name) static type real = NULL; if (real == NULL) real = (type)dlsym(RTLD_NEXT, name)

typedef ssize_t (*pwrite_t)(int, const void *, size_t, off_t);
typedef ssize_t (*write_t)(int, const void *, size_t);
typedef int (*sync_t)(int);

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
  REAL(pwrite_t, "pwrite");
  FAIL(fd, 'w');
  return real(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
  REAL(pwrite_t, "pwrite64");
  FAIL(fd, 'w');
  return real(fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n) {
  REAL(write_t, "write");
  FAIL(fd, 'w');
  return real(fd, data, n);
}

int fsync(int fd) {
  REAL(sync_t, "fsync");
  FAIL(fd, 's');
  return real(fd);
}

int fdatasync(int fd) {
  REAL(sync_t, "fdatasync");
  FAIL(fd, 's');
  return real(fd);
}
