/*
 * A kernel of a few hundred bytes. It reports as PID 1 would, and has the bugs of the version that it
 * is: commit N of its history adds the file N.h. Which of them a boot may meet is said by show=BUG on
 * its command line.
 */

enum { SERIAL = 0x3f8, AGENT = 0x7b0, KEYBOARD = 0x64 };

asm(".globl _start\n"
    "_start:\n"
    "	lea stack_end(%rip), %rsp\n"
    "	mov %rsi, %rdi\n"
    "	call boot\n"
    ".bss\n"
    "	.skip 4096\n"
    "stack_end:\n"
    ".text\n");

static void out(unsigned short port, unsigned char byte)
{
	asm volatile("outb %0, %1" : : "a"(byte), "Nd"(port));
}

static void print(unsigned short port, const char *text)
{
	while (*text)
		out(port, *text++);
}

static void reset(void)
{
	out(KEYBOARD, 0xfe);
	for (;;)
		;
}

static void hang(void)
{
	for (;;)
		asm volatile("cli; hlt");
}

/* What follows a word on the command line. */
static const char *after(const char *line, const char *word)
{
	for (; *line; line++) {
		const char *at = line, *want = word;

		while (*want && *at == *want) {
			at++;
			want++;
		}
		if (!*want)
			return at;
	}
	return 0;
}

/* The agent's report, which carries the number that the command line gives. */
static void report(const char *line, const char *what)
{
	const char *nonce = after(line, "vmbisect.nonce=");

	print(AGENT, "vmbisect-agent: ");
	while (nonce && *nonce && *nonce != ' ')
		out(AGENT, *nonce++);
	print(AGENT, " ");
	print(AGENT, what);
	print(AGENT, "\n");
}

#define WARN(function)								\
	print(SERIAL,								\
	      "[    1.000000] ------------[ cut here ]------------\n"		\
	      "[    1.000000] WARNING: CPU: 0 PID: 1 at kernel/toy.c:7 " function "+0x1/0x10\n" \
	      "[    1.000000] CPU: 0 PID: 1 Comm: init Not tainted 6.1.0 #1\n"	\
	      "[    1.000000] RIP: 0010:" function "+0x1/0x10\n"		\
	      "[    1.000000] Call Trace:\n"					\
	      "[    1.000000]  <TASK>\n"					\
	      "[    1.000000]  " function "+0x1/0x10\n"				\
	      "[    1.000000]  do_toy+0x1/0x10\n"				\
	      "[    1.000000]  do_syscall_64+0x1/0x10\n"			\
	      "[    1.000000]  </TASK>\n"					\
	      "[    1.000000] ---[ end trace 0000000000000000 ]---\n")

/* Configured to be calm, no version of it has a bug. */
#ifdef CALM
#define SHOWS(bug) 0
#else
#define SHOWS(bug) after(line, "show=" bug)
#endif

void boot(const unsigned char *boot_params)
{
	/* cmd_line_ptr of the boot protocol. */
	unsigned int at = *(const unsigned int *)(boot_params + 0x228);
	const char *line = (const char *)(unsigned long)at;

	print(SERIAL, "[    0.000000] Linux version 6.1.0\n");
#if __has_include("2.h")
	if (SHOWS("no-boot"))
		reset();
#endif
	report(line, "init");
	report(line, "start");
#if __has_include("3.h")
	if (SHOWS("warning") || SHOWS("waiting"))
		WARN("toy_old");
#else
	if (SHOWS("waiting"))
		for (;;)
			asm volatile("pause");
#endif
#if __has_include("5.h")
	if (SHOWS("two-warnings"))
		WARN("toy_new");
#elif __has_include("3.h")
	if (SHOWS("two-warnings"))
		WARN("toy_old");
#endif
#if !__has_include("5.h")
	if (SHOWS("fixed"))
		WARN("toy_old");
#endif
#if __has_include("4.h")
	if (SHOWS("hang"))
		hang();
#endif
#if __has_include("6.h")
	if (SHOWS("exit"))
		report(line, "exit 7");
#endif
	report(line, "exit 0");
	reset();
}
