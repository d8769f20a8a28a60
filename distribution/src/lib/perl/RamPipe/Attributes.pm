package RamPipe::Attributes;

# What a file has beside its data: owner, mode, times, extended attributes (ACLs and
# capabilities are such).

use strict;
use warnings;
use RamPipe::Linux qw(:all);
use Exporter 'import';
our @EXPORT_OK = qw(synced attributes_of same_attributes give_attributes);

# Not: what belongs to overlayfs; what the kernel computes (IMA, EVM); the copies of
# ACLs that XFS shows beside the ACLs.
sub synced {
    my $name = shift;
    return $name =~ /^user\./
        || $name =~ /^trusted\./   && $name !~ /^trusted\.(overlay\.|SGI_ACL_)/
        || $name =~ /^security\./  && $name !~ /^security\.(ima|evm)\z/
        || $name =~ /^system\.posix_acl_(access|default)\z/;
}

# Of an open file; O_PATH will do. keeps_user: the file system has no user.*
# attributes (tmpfs before Linux 6.6), so that their absence means nothing.
sub attributes_of {
    my ($fd, $stat) = @_;
    my %xattrs;
    for my $name (grep { synced($_) } xattrs($fd)) {
        my $value = xattr_get($fd, $name);
        $xattrs{$name} = $value if defined $value;
    }
    return {
        (map { $_ => $stat->{$_} } qw(uid gid atime atime_ns mtime mtime_ns)),
        permissions => $stat->{mode} & 07777,
        keeps_user  => (is_regular($stat) || is_directory($stat)) && !xattr_supported($fd, 'user.rampipe') ? 1 : 0,
        xattrs      => \%xattrs,
    };
}

sub kept { my ($wanted, $name) = @_; return $wanted->{keeps_user} && $name =~ /^user\./ }

# Whether a file with the second has the first already; the access time does not count.
sub same_attributes {
    my ($wanted, $now, $symlink) = @_;
    for my $field (qw(uid gid mtime mtime_ns), $symlink ? () : 'permissions') {
        return 0 if $wanted->{$field} != $now->{$field};
    }
    for my $name (keys %{ $wanted->{xattrs} }) {
        my $other = $now->{xattrs}{$name};
        return 0 if !defined $other || $other ne $wanted->{xattrs}{$name};
    }
    for my $name (keys %{ $now->{xattrs} }) {
        return 0 if !exists $wanted->{xattrs}{$name} && !kept($wanted, $name);
    }
    return 1;
}

# Gives them to an open file; O_PATH will do. Can be done again.
#
# In this order: changing the owner clears set-user-id bits and capabilities; an ACL
# changes the mode's group bits; times come last.
sub give_attributes {
    my ($wanted, $fd) = @_;
    my $stat = stat_of($fd);
    chown_of($fd, $wanted->{uid}, $wanted->{gid}) if $stat->{uid} != $wanted->{uid} || $stat->{gid} != $wanted->{gid};
    my $now = attributes_of($fd, $stat)->{xattrs};
    for my $name (sort keys %$now) {
        xattr_remove($fd, $name) if !exists $wanted->{xattrs}{$name} && !kept($wanted, $name);
    }
    for my $name (sort keys %{ $wanted->{xattrs} }) {
        my $value = $wanted->{xattrs}{$name};
        xattr_set($fd, $name, $value) if !defined $now->{$name} || $now->{$name} ne $value;
    }
    if (!is_symlink($stat) && (stat_of($fd)->{mode} & 07777) != $wanted->{permissions}) {
        chmod_of($fd, $wanted->{permissions});
    }
    set_times($fd, @{$wanted}{qw(atime atime_ns mtime mtime_ns)});
    return;
}

1;
