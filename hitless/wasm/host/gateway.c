#define _GNU_SOURCE
#include "gateway.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PREFIX 5
#define FIRST_PAUSE_MS 20
#define LAST_PAUSE_MS 2000
#define READ (256 << 10)

static int gateway = -1;
static uint8_t *buffer;
static size_t room, start, end;
static volatile sig_atomic_t signalled;
static bool told;
static sigset_t while_waiting;

static void take_signal(int number) {
  (void)number;
  signalled = 1;
}

void gateway_signals(void) {
  struct sigaction action = {.sa_handler = take_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGTERM);
  sigaddset(&both, SIGINT);
  // Taken only while nothing is in hand: otherwise one that comes just before the wait would not end it.
  sigprocmask(SIG_BLOCK, &both, &while_waiting);
  sigdelset(&while_waiting, SIGTERM);
  sigdelset(&while_waiting, SIGINT);
}

bool gateway_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    fprintf(stderr, "%s is too long for the path of a socket\n", path);
    exit(1);
  }
  strcpy(address.sun_path, path);
  for (long pause = FIRST_PAUSE_MS;; pause = 2 * pause < LAST_PAUSE_MS ? 2 * pause : LAST_PAUSE_MS) {
    gateway = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (gateway >= 0 && connect(gateway, (struct sockaddr *)&address, sizeof address) == 0) break;
    gateway_close();
    struct timespec for_it = {pause / 1000, pause % 1000 * 1000000};
    ppoll(NULL, 0, &for_it, &while_waiting);
    if (signalled) return false;
  }
  start = end = 0;
  return true;
}

void gateway_close(void) {
  if (gateway >= 0) close(gateway);
  gateway = -1;
}

void gateway_take_no_more(void) { shutdown(gateway, SHUT_RD); }

uint64_t number_at(const uint8_t *at, int size) {
  uint64_t number = 0;
  while (size-- > 0) number = number << 8 | *at++;
  return number;
}

uint8_t *put_number(uint8_t *at, uint64_t number, int size) {
  for (int i = size - 1; i >= 0; i--, number >>= 8) at[i] = (uint8_t)number;
  return at + size;
}

// Room for `size` bytes from `start` on.
static bool reserve(size_t size) {
  if (start > 0 && start + size > room) {
    memmove(buffer, buffer + start, end - start);
    end -= start;
    start = 0;
  }
  if (size <= room) return true;
  uint8_t *larger = realloc(buffer, size);
  if (larger == NULL) return false;
  buffer = larger;
  room = size;
  return true;
}

enum got gateway_next(struct frame *frame) {
  for (;;) {
    size_t wanted = PREFIX;
    if (end - start >= PREFIX) {
      size_t size = number_at(buffer + start, 4);
      if (size > MAX_FRAME) return GOT_END;
      wanted += size;
      if (end - start >= wanted) {
        *frame = (struct frame){buffer[start + 4], buffer + start + PREFIX, size};
        start += wanted;
        return GOT_FRAME;
      }
    }
    if (start == end) start = end = 0;
    if (!reserve(wanted > READ ? wanted : READ)) return GOT_END;
    struct pollfd source = {gateway, POLLIN, 0};
    if (ppoll(&source, 1, NULL, told ? NULL : &while_waiting) < 0) {
      if (errno != EINTR) return GOT_END;
      if (signalled && !told) {
        told = true;
        return GOT_SIGNAL;
      }
      continue;
    }
    ssize_t got = recv(gateway, buffer + end, room - end, MSG_DONTWAIT);
    if (got > 0) {
      end += (size_t)got;
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      return GOT_END;
    }
  }
}

bool gateway_send(int type, const struct iovec *parts, int count) {
  uint8_t prefix[PREFIX];
  struct iovec all[8] = {{prefix, PREFIX}};
  size_t size = 0;
  for (int i = 0; i < count; i++) {
    all[i + 1] = parts[i];
    size += parts[i].iov_len;
  }
  put_number(prefix, size, 4);
  prefix[4] = (uint8_t)type;
  struct msghdr message = {.msg_iov = all, .msg_iovlen = (size_t)count + 1};
  for (size_t left = size + PREFIX; left > 0;) {
    ssize_t sent = sendmsg(gateway, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    left -= (size_t)sent;
    while (message.msg_iovlen > 0 && (size_t)sent >= message.msg_iov->iov_len) {
      sent -= (ssize_t)message.msg_iov->iov_len;
      message.msg_iov++;
      message.msg_iovlen--;
    }
    if (message.msg_iovlen > 0) {
      message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
      message.msg_iov->iov_len -= (size_t)sent;
    }
  }
  return true;
}
