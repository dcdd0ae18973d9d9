/* mailroot.c - the administrator's command line. */
#include "admin/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
